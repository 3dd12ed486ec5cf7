//! Case of texts, as Python's str methods change and test it.

use super::unicode::{is_cased, is_lower, is_title, is_upper, push_title};

pub fn capitalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    if let Some(first) = chars.next() {
        push_title(&mut out, first);
        // Lowered with the first letter in view: a final sigma depends on what is before it.
        let lowered = text.to_lowercase();
        let skip: usize = first.to_lowercase().count();
        out.extend(lowered.chars().skip(skip));
    }
    out
}

pub fn title(text: &str) -> String {
    let lowered = text.to_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    // Lowering can lengthen a text; where it does not, take its letters, which know final sigma.
    let same_length = lowered.chars().count() == text.chars().count();
    for (c, low) in text.chars().zip(lowered.chars().chain(std::iter::repeat('\0'))) {
        if !inside {
            push_title(&mut out, c);
        } else if same_length {
            out.push(low);
        } else {
            out.extend(c.to_lowercase());
        }
        inside = is_cased(c);
    }
    out
}

pub fn swapcase(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_upper(c) {
            out.extend(c.to_lowercase());
        } else if is_lower(c) {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
    }
    out
}

pub fn is_title_text(text: &str) -> bool {
    let (mut any, mut inside) = (false, false);
    for c in text.chars() {
        if is_upper(c) || is_title(c) {
            if inside {
                return false;
            }
            (any, inside) = (true, true);
        } else if is_lower(c) {
            if !inside {
                return false;
            }
            any = true;
        } else {
            inside = false;
        }
    }
    any
}

pub fn is_upper_text(text: &str) -> bool {
    text.chars().any(is_upper) && !text.chars().any(|c| is_lower(c) || is_title(c))
}

pub fn is_lower_text(text: &str) -> bool {
    text.chars().any(is_lower) && !text.chars().any(|c| is_upper(c) || is_title(c))
}

/// Lower case, with the few letters that fold to more.
pub fn casefold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'ß' | 'ẞ' => out.push_str("ss"),
            'ς' => out.push('σ'),
            'ŉ' => out.push_str("ʼn"),
            'ſ' => out.push('s'),
            'µ' => out.push('μ'),
            'ﬀ'..='ﬆ' => out.extend(c.to_uppercase().flat_map(char::to_lowercase)),
            c => out.extend(c.to_lowercase()),
        }
    }
    out
}
