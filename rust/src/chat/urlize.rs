//! Links for the addresses in a text.

use std::sync::OnceLock;

use regex::Regex;

use super::html::escape_text;
use super::unicode::is_space;

pub struct Style {
    pub limit: Option<usize>,
    pub rel: String,
    pub target: Option<String>,
    pub schemes: Vec<String>,
}

/// Addresses as jinja2 recognises them: by scheme, www, or a well-known top domain.
fn is_address(text: &str) -> bool {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    let pattern = PATTERN.get_or_init(|| {
        Regex::new(concat!(
            r"(?i)^(?:(?:https?://|www\.)(?:(?:[\w%-]+\.)+)?(?:[a-z]{2,63}|xn--[\w%]{2,59})",
            r"|(?:[\w%-]{2,63}\.)+(?:com|net|int|edu|gov|org|info|mil)",
            r"|https?://(?:(?:\d{1,3})(?:\.\d{1,3}){3}|\[(?:[\da-f]{0,4}:){2}(?:[\da-f]{0,4}:?){1,6}\]))",
            r"(?::\d{1,5})?(?:[/?#]\S*)?$",
        ))
        .ok()
    });
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

fn is_email(text: &str) -> bool {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    let pattern = PATTERN.get_or_init(|| Regex::new(r"^\S+@\w[\w.-]*\.\w+$").ok());
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// @param text already escaped.
pub fn urlize(text: &str, style: &Style) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let space = is_space(first);
        let end = rest.find(|c| is_space(c) != space).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if space {
            out.push_str(word)
        } else {
            out.push_str(&link(word, style))
        }
        rest = after;
    }
    out
}

/// Length of what the pieces make up at the start, or at the end.
fn run(text: &str, pieces: &[&str], at_end: bool) -> usize {
    let mut rest = text;
    while let Some(piece) = pieces.iter().find(|piece| match at_end {
        true => rest.ends_with(**piece),
        false => rest.starts_with(**piece),
    }) {
        rest = if at_end { &rest[..rest.len() - piece.len()] } else { &rest[piece.len()..] };
    }
    text.len() - rest.len()
}

fn link(word: &str, style: &Style) -> String {
    let (head, middle) = word.split_at(run(word, &["(", "<", "&lt;"], false));
    let cut = middle.len() - run(middle, &["&gt;", ")", ">", ".", ","], true);
    let (mut middle, mut tail) = (middle[..cut].to_string(), middle[cut..].to_string());
    for (open, close) in [("(", ")"), ("<", ">"), ("&lt;", "&gt;")] {
        let opened = middle.matches(open).count();
        if opened <= middle.matches(close).count() {
            continue;
        }
        for _ in 0..opened.min(tail.matches(close).count()) {
            if let Some(at) = tail.find(close) {
                let rest = tail.split_off(at + close.len());
                middle.push_str(&tail);
                tail = rest;
            }
        }
    }
    let shown = match style.limit {
        Some(limit) if middle.chars().count() > limit => {
            middle.chars().take(limit).collect::<String>() + "..."
        }
        _ => middle.clone(),
    };
    let rel = if style.rel.is_empty() {
        String::new()
    } else {
        format!(" rel=\"{}\"", escape_text(&style.rel))
    };
    let target = style.target.as_ref().filter(|target| !target.is_empty());
    let target =
        target.map_or(String::new(), |target| format!(" target=\"{}\"", escape_text(target)));
    let mail = middle.strip_prefix("mailto:").filter(|address| is_email(address));
    if is_address(&middle) {
        let scheme = if middle.starts_with("http://") || middle.starts_with("https://") {
            ""
        } else {
            "https://"
        };
        middle = format!("<a href=\"{scheme}{middle}\"{rel}{target}>{shown}</a>");
    } else if let Some(address) = mail {
        middle = format!("<a href=\"{middle}\">{address}</a>");
    } else if middle.contains('@')
        && !middle.starts_with("www.")
        && !middle.starts_with('@')
        && !middle.contains(':')
        && is_email(&middle)
    {
        middle = format!("<a href=\"mailto:{middle}\">{middle}</a>");
    } else {
        let known = style
            .schemes
            .iter()
            .any(|scheme| middle != *scheme && middle.starts_with(scheme.as_str()));
        if known {
            middle = format!("<a href=\"{middle}\"{rel}{target}>{middle}</a>");
        }
    }
    format!("{head}{middle}{tail}")
}
