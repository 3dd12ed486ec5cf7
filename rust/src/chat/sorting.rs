//! sorted(), whose comparisons may fail.

use super::error::{Error, Res};
use super::ops;
use super::runtime::Interp;
use super::value::Value;

/// Stable; `reverse` keeps equal items in their order, as Python does.
pub fn sort_by_key<T>(
    interp: &mut Interp,
    items: Vec<T>,
    key: impl Fn(&T) -> Value,
    reverse: bool,
) -> Res<Vec<T>> {
    let keyed = items.into_iter().map(|item| (key(&item), item)).collect();
    sort_keyed(interp, keyed, reverse)
        .map(|keyed| keyed.into_iter().map(|(_, item)| item).collect())
}

pub fn sort_keyed<T>(
    interp: &mut Interp,
    mut keyed: Vec<(Value, T)>,
    reverse: bool,
) -> Res<Vec<(Value, T)>> {
    let mut failed: Option<Box<Error>> = None;
    if reverse {
        keyed.reverse();
    }
    // A plain merge sort: the standard one may panic over an order that is none (NaN).
    keyed = merge_sort(keyed, &mut |a, b| {
        if failed.is_some() {
            return false;
        }
        ops::less(interp, &b.0, &a.0).unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    });
    if reverse {
        keyed.reverse();
    }
    failed.map_or(Ok(keyed), Err)
}

/// @param after whether the first must come after the second.
fn merge_sort<T>(mut items: Vec<T>, after: &mut impl FnMut(&T, &T) -> bool) -> Vec<T> {
    if items.len() < 2 {
        return items;
    }
    let right = items.split_off(items.len() / 2);
    let mut left = merge_sort(items, after).into_iter().peekable();
    let mut right = merge_sort(right, after).into_iter().peekable();
    let mut merged = Vec::with_capacity(left.len() + right.len());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let take_right = after(a, b);
        merged.extend(if take_right { right.next() } else { left.next() });
    }
    merged.extend(left);
    merged.extend(right);
    merged
}
