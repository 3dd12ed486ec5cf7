//! Python's textwrap for one paragraph: tabs and white space stay as they are.

/// What textwrap takes for white space.
fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\x0b' | '\x0c' | '\r' | ' ')
}

fn is_word(c: char) -> bool {
    super::unicode::is_word(c)
}

/// Punctuation that may stand before a dash or inside a word.
fn is_word_punctuation(c: char) -> bool {
    is_word(c) || matches!(c, '!' | '"' | '\'' | '&' | '.' | ',' | '?')
}

/// A letter for the sake of hyphens: of a word, but no digit.
fn is_letter(c: char) -> bool {
    is_word(c) && !super::unicode::is_decimal(c)
}

/// Length of the run of two or more hyphens that stands for a dash at `at`.
fn dash(text: &[char], at: usize) -> usize {
    let count = text[at..].iter().take_while(|c| **c == '-').count();
    let before = at > 0 && is_word_punctuation(text[at - 1]);
    let after = text.get(at + count).is_some_and(|c| is_word(*c));
    if count >= 2 && before && after {
        count
    } else {
        0
    }
}

/// Whether a word may be broken behind the hyphen at `at`.
fn hyphen(text: &[char], at: usize) -> bool {
    let letter =
        |index: Option<usize>| index.and_then(|at| text.get(at)).is_some_and(|c| is_letter(*c));
    let two_before = letter(at.checked_sub(1)) && letter(at.checked_sub(2));
    let one_before = letter(at.checked_sub(1))
        && at.checked_sub(2).is_some_and(|before| text[before] == '-')
        && letter(at.checked_sub(3));
    let two_after = letter(Some(at + 1))
        && (letter(Some(at + 2)) || (text.get(at + 2) == Some(&'-') && letter(Some(at + 3))));
    text[at] == '-' && (two_before || one_before) && two_after
}

/// Runs of white space, words, and the parts of words at hyphens.
fn chunks(text: &[char], hyphens: bool) -> Vec<Vec<char>> {
    let mut parts: Vec<Vec<char>> = vec![];
    let mut at = 0;
    while at < text.len() {
        let start = at;
        if is_space(text[at]) {
            while at < text.len() && is_space(text[at]) {
                at += 1;
            }
        } else if hyphens && dash(text, at) > 0 {
            at += dash(text, at);
        } else {
            while at < text.len() && !is_space(text[at]) {
                if hyphens && at > start && dash(text, at) > 0 {
                    break;
                }
                at += 1;
                if hyphens && hyphen(text, at - 1) {
                    break;
                }
            }
        }
        parts.push(text[start..at].to_vec());
    }
    parts
}

pub fn wrap(text: &str, width: usize, break_long: bool, hyphens: bool) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let mut parts = chunks(&text, hyphens);
    parts.reverse();
    let mut lines: Vec<String> = vec![];
    while !parts.is_empty() {
        let mut line: Vec<Vec<char>> = vec![];
        let mut length = 0;
        if !lines.is_empty() && parts.last().is_some_and(|part| part.iter().all(|c| is_space(*c))) {
            parts.pop();
        }
        while let Some(part) = parts.last() {
            if length + part.len() > width {
                break;
            }
            length += part.len();
            line.extend(parts.pop());
        }
        if parts.last().is_some_and(|part| part.len() > width) {
            long_word(&mut parts, &mut line, length, width, break_long, hyphens);
        }
        if line.last().is_some_and(|part| part.iter().all(|c| is_space(*c))) {
            line.pop();
        }
        if !line.is_empty() {
            lines.push(line.into_iter().flatten().collect());
        }
    }
    lines
}

fn long_word(
    parts: &mut Vec<Vec<char>>,
    line: &mut Vec<Vec<char>>,
    length: usize,
    width: usize,
    break_long: bool,
    hyphens: bool,
) {
    let Some(part) = parts.last_mut() else { return };
    if break_long {
        let space = width - length;
        let mut end = space;
        if hyphens && part.len() > space {
            let at = part[..space].iter().rposition(|c| *c == '-');
            if let Some(at) = at.filter(|at| *at > 0 && part[..*at].iter().any(|c| *c != '-')) {
                end = at + 1;
            }
        }
        let rest = part.split_off(end);
        line.push(std::mem::replace(part, rest));
    } else if line.is_empty() {
        line.extend(parts.pop());
    }
}
