//! The C entry point of chat templates.

use super::error::Kind;
use super::render::render;
use crate::ffi::{argument_error, entry, format_error, pack_u32, GkBuffer, GkSlice, Outcome};

fn render_packed(source: &str, variables: &str, now: &str) -> Outcome<Vec<u8>> {
    let rendered = match render(source, variables, now) {
        Ok(rendered) => rendered,
        // The template's own words, for whoever chats with it.
        Err(error) if error.kind == Kind::Template => return argument_error(error.message),
        Err(error) => {
            let place =
                if error.line > 0 { format!("line {}: ", error.line) } else { String::new() };
            return format_error(format!("{place}{}: {}", error.kind.name(), error.message));
        }
    };
    let spans = rendered.generation_spans;
    let numbers = spans.iter().flat_map(|(begin, end)| [*begin as u32, *end as u32]);
    let mut packed = pack_u32([spans.len() as u32]);
    packed.extend(pack_u32(numbers));
    packed.extend(rendered.text.into_bytes());
    Ok(packed)
}

/// Renders a template; see genkit_rust.h.
///
/// # Safety
/// The slices are readable, `out` is writable.
#[no_mangle]
pub unsafe extern "C" fn gk_chat_render(
    template_text: GkSlice,
    variables_json: GkSlice,
    now: GkSlice,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || {
        let source = template_text.text("chat_template")?;
        let variables = variables_json.text("variables")?;
        let now = now.text("now")?;
        render_packed(source, variables, now)
    })
}
