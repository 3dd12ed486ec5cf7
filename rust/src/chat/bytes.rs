//! bytes, as str.encode gives them.

use std::rc::Rc;

use super::call::CallArgs;
use super::error::{fail, Kind, Res};
use super::runtime::Interp;
use super::value::Value;

pub fn repr(content: &[u8]) -> String {
    let quote = if content.contains(&b'\'') && !content.contains(&b'"') { '"' } else { '\'' };
    let mut out = format!("b{quote}");
    for byte in content {
        match *byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte if byte as char == quote => {
                out.push('\\');
                out.push(quote);
            }
            byte @ 0x20..=0x7e => out.push(byte as char),
            byte => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push(quote);
    out
}

pub fn find(name: &str) -> Option<&'static str> {
    ["decode", "hex", "upper", "lower"].into_iter().find(|known| *known == name)
}

pub fn call(_: &mut Interp, content: &Rc<Vec<u8>>, name: &str, args: CallArgs) -> Res<Value> {
    Ok(match name {
        "decode" => {
            let [encoding, _] = args.bind("decode", ["encoding", "errors"], 0)?;
            let encoding =
                encoding.as_ref().and_then(Value::as_str).map_or("utf-8", |name| &name.text);
            match codec(encoding)? {
                Codec::Utf8 => match std::str::from_utf8(content) {
                    Ok(text) => Value::str(text),
                    Err(_) => return fail(Kind::Unicode, "'utf-8' codec can't decode the bytes"),
                },
                Codec::Latin1 => {
                    Value::str(content.iter().map(|byte| *byte as char).collect::<String>())
                }
                Codec::Ascii if content.is_ascii() => Value::str(String::from_utf8_lossy(content)),
                Codec::Ascii => return fail(Kind::Unicode, "'ascii' codec can't decode the bytes"),
            }
        }
        "hex" => Value::str(content.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        "upper" => Value::Bytes(Rc::new(content.to_ascii_uppercase())),
        _ => Value::Bytes(Rc::new(content.to_ascii_lowercase())),
    })
}

enum Codec {
    Utf8,
    Latin1,
    Ascii,
}

fn codec(name: &str) -> Res<Codec> {
    match name.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
        "utf8" => Ok(Codec::Utf8),
        "latin1" | "iso88591" => Ok(Codec::Latin1),
        "ascii" | "usascii" => Ok(Codec::Ascii),
        _ => fail(Kind::Lookup, format!("unknown encoding: {name}")),
    }
}

pub fn encode(text: &str, encoding: &str) -> Res<Value> {
    let bytes: Option<Vec<u8>> = match codec(encoding)? {
        Codec::Utf8 => Some(text.as_bytes().to_vec()),
        Codec::Latin1 => text.chars().map(|c| u8::try_from(c as u32).ok()).collect(),
        Codec::Ascii => text.is_ascii().then(|| text.as_bytes().to_vec()),
    };
    match bytes {
        Some(bytes) => Ok(Value::Bytes(Rc::new(bytes))),
        None => fail(Kind::Unicode, format!("'{encoding}' codec can't encode the text")),
    }
}
