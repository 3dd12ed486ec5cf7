//! Floats in C's forms f, e and g, correctly rounded.

/// `%.{precision}f` of a number that is not negative.
pub fn fixed(value: f64, precision: usize, alternate: bool) -> String {
    if !value.is_finite() {
        return super::repr::repr_float(value);
    }
    let mut text = format!("{value:.precision$}");
    if alternate && precision == 0 {
        text.push('.');
    }
    text
}

/// `%.{precision}e`
pub fn exponent(value: f64, precision: usize, alternate: bool) -> String {
    if !value.is_finite() {
        return super::repr::repr_float(value);
    }
    let text = format!("{value:.precision$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let point = if alternate && precision == 0 { "." } else { "" };
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}{point}e{sign}{:02}", power.abs())
}

/// `%.{precision}g`
pub fn general(value: f64, precision: usize, alternate: bool) -> String {
    if !value.is_finite() {
        return super::repr::repr_float(value);
    }
    let precision = precision.max(1);
    let scientific = format!("{value:.*e}", precision - 1);
    let power: i64 =
        scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    if power < -4 || power >= precision as i64 {
        let text = exponent(value, precision - 1, alternate);
        if alternate {
            return text;
        }
        let (mantissa, power) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{power}", trim_zeros(mantissa));
    }
    let decimals = (precision as i64 - 1 - power).max(0) as usize;
    let text = fixed(value, decimals, alternate);
    if alternate {
        text
    } else {
        trim_zeros(&text).to_string()
    }
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}
