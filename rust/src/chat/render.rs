//! A template from text to text.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use super::ast::Template;
use super::bind::bind;
use super::error::{error, fail, Error, Kind, Res};
use super::globals;
use super::json::from_json;
use super::parser::parse;
use super::runtime::Interp;
use super::strftime::DateTime;
use super::value::Value;
use crate::ffi::catch;

/// Recursion is bounded by counters; this is what they may need at most.
const STACK: usize = 256 << 20;
/// Templates kept parsed.
const CACHED: usize = 64;

#[derive(Debug)]
pub struct Rendered {
    pub text: String,
    /// [begin, end) in bytes of the text.
    pub generation_spans: Vec<(usize, usize)>,
}

fn compile(source: &str) -> Res<Arc<Template>> {
    static CACHE: OnceLock<Mutex<HashMap<String, Arc<Template>>>> = OnceLock::new();
    let cache = CACHE.get_or_init(Mutex::default);
    if let Some(found) = cache.lock().ok().and_then(|cache| cache.get(source).cloned()) {
        return Ok(found);
    }
    let template = Arc::new(bind(parse(source)?)?);
    if let Ok(mut cache) = cache.lock() {
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(source.to_string(), template.clone());
    }
    Ok(template)
}

/// Bytes for spans whose begin counts bytes and whose length counts characters.
fn byte_spans(text: &str, spans: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let spans = spans.iter().map(|(begin, chars)| {
        let begin = (*begin).min(text.len());
        let rest = text.get(begin..).unwrap_or("");
        let length = rest.char_indices().nth(*chars).map_or(rest.len(), |(at, _)| at);
        (begin, begin + length)
    });
    spans.collect()
}

fn run(source: &str, variables: &str, now: &str) -> Res<Rendered> {
    let Some(now) = DateTime::parse(now) else {
        return fail(
            Kind::Value,
            format!("now: expected a time like 2026-03-14T09:26:53, got {now}"),
        );
    };
    let json: serde_json::Value = serde_json::from_str(variables)
        .map_err(|e| error(Kind::Value, format!("variables: {e}")))?;
    let serde_json::Value::Object(json) = json else {
        return fail(Kind::Value, "variables: expected an object");
    };
    let template = compile(source)?;
    let mut given: HashMap<String, Value> = HashMap::new();
    globals::NAMES.iter().for_each(|name| {
        given.insert(name.to_string(), Value::Function(name));
    });
    json.iter().for_each(|(name, value)| {
        given.insert(name.clone(), from_json(value));
    });
    let mut interp = Interp::new(template, given, now);
    let text = interp.render()?;
    let generation_spans = byte_spans(&text, &interp.generated);
    Ok(Rendered { text, generation_spans })
}

/// Runs `body` on a stack of its own, which nothing else has used up.
pub fn on_own_stack<T: Send>(body: impl FnOnce() -> T + Send) -> Result<T, Box<Error>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, body);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => fail(Kind::Limit, "the renderer stopped"),
            Err(reason) => fail(Kind::Limit, format!("no thread for the renderer: {reason}")),
        }
    })
}

/// @param variables an object in JSON.
/// @param now "2026-03-14T09:26:53".
pub fn render(source: &str, variables: &str, now: &str) -> Res<Rendered> {
    let caught = on_own_stack(|| catch(|| Ok(run(source, variables, now))))?;
    caught.unwrap_or_else(|failure| fail(Kind::Limit, failure.message))
}
