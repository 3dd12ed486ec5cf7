//! Escapes in string literals, as Python's unicode-escape codec reads them.

/// @return the text, or what jinja2 says about it.
pub fn unescape(literal: &str) -> Result<String, String> {
    if !literal.contains('\\') {
        return Ok(literal.to_string());
    }
    // jinja2 first turns what is not ASCII into escapes itself, so a backslash before such a
    // character pairs with the backslash of that escape.
    let mut ascii = String::with_capacity(literal.len());
    for c in literal.chars() {
        match c as u32 {
            0..=0x7f => ascii.push(c),
            code @ 0x80..=0xff => ascii.push_str(&format!("\\x{code:02x}")),
            code @ 0x100..=0xffff => ascii.push_str(&format!("\\u{code:04x}")),
            code => ascii.push_str(&format!("\\U{code:08x}")),
        }
    }
    let bytes = ascii.as_bytes();
    let mut out = String::with_capacity(ascii.len());
    let mut pending: Option<u32> = None;
    let mut at = 0;
    while at < bytes.len() {
        let (code, len) = match bytes[at] {
            b'\\' => match escape(&ascii[at..])? {
                (Some(code), len) => (code, len),
                (None, len) => {
                    at += len;
                    continue;
                }
            },
            byte => (byte as u32, 1),
        };
        at += len;
        push_code(&mut out, &mut pending, code)?;
    }
    match pending {
        Some(_) => Err(LONE_SURROGATE.to_string()),
        None => Ok(out),
    }
}

const LONE_SURROGATE: &str = "surrogates not allowed";

/// Joins the two halves of a pair; a half alone cannot be text here.
fn push_code(out: &mut String, pending: &mut Option<u32>, code: u32) -> Result<(), String> {
    match (pending.take(), code) {
        (None, 0xd800..=0xdbff) => *pending = Some(code),
        (None, code) => out.push(char::from_u32(code).ok_or(LONE_SURROGATE)?),
        (Some(_), _) => return Err(LONE_SURROGATE.to_string()),
    }
    Ok(())
}

/// Code point (none for an escaped newline) and length of the escape at the start of the text.
fn escape(text: &str) -> Result<(Option<u32>, usize), String> {
    let Some(kind) = text[1..].chars().next() else {
        return Err("\\ at end of string".to_string());
    };
    let simple = |code: u32| Ok((Some(code), 2));
    match kind {
        '\n' => Ok((None, 2)),
        '\\' | '\'' | '"' => simple(kind as u32),
        'a' => simple(7),
        'b' => simple(8),
        'f' => simple(12),
        'n' => simple(10),
        'r' => simple(13),
        't' => simple(9),
        'v' => simple(11),
        '0'..='7' => {
            let len = text[1..].bytes().take(3).take_while(|c| (b'0'..=b'7').contains(c)).count();
            let code = u32::from_str_radix(&text[1..1 + len], 8).unwrap_or(0);
            Ok((Some(code), 1 + len))
        }
        'x' => hex(text, 2, "truncated \\xXX escape"),
        'u' => hex(text, 4, "truncated \\uXXXX escape"),
        'U' => {
            let (code, len) = hex(text, 8, "truncated \\UXXXXXXXX escape")?;
            match code {
                Some(code) if code > 0x10ffff => Err("illegal Unicode character".to_string()),
                _ => Ok((code, len)),
            }
        }
        'N' => Err("unknown Unicode character name".to_string()),
        // Unknown: the backslash stays, and what follows is read on its own.
        _ => Ok((Some('\\' as u32), 1)),
    }
}

fn hex(text: &str, digits: usize, message: &str) -> Result<(Option<u32>, usize), String> {
    match text.get(2..2 + digits) {
        Some(found) if found.bytes().all(|c| c.is_ascii_hexdigit()) => {
            Ok((u32::from_str_radix(found, 16).ok(), 2 + digits))
        }
        _ => Err(message.to_string()),
    }
}
