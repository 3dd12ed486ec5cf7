//! datetime.strftime over the C library's directives, in the C locale.

use super::error::{value_error, Res};

#[derive(Clone, Copy, Debug)]
pub struct DateTime {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub microsecond: u32,
}

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 => 28 + leap(year) as u32,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl DateTime {
    /// "2026-03-14T09:26:53", the fraction of a second optional.
    pub fn parse(text: &str) -> Option<DateTime> {
        let (date, time) = text.split_once(['T', ' '])?;
        let numbers = |text: &str, separator: char| -> Option<Vec<u32>> {
            text.split(separator).map(|part| part.parse().ok()).collect()
        };
        let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let (date, clock) = (numbers(date, '-')?, numbers(clock, ':')?);
        let ([year, month, day], [hour, minute, second]) = (&date[..], &clock[..]) else {
            return None;
        };
        if fraction.len() > 6 || fraction.is_empty() {
            return None;
        }
        let scale = 10u32.pow(6 - fraction.len() as u32);
        let at = DateTime {
            year: *year as i64,
            month: *month,
            day: *day,
            hour: *hour,
            minute: *minute,
            second: *second,
            microsecond: fraction.parse::<u32>().ok()? * scale,
        };
        let valid = (1..=9999).contains(&at.year)
            && (1..=12).contains(&at.month)
            && at.day >= 1
            && at.day <= days_in_month(at.year, at.month)
            && at.hour < 24
            && at.minute < 60
            && at.second < 60;
        valid.then_some(at)
    }

    /// From 0 for the first of January.
    fn day_of_year(&self) -> i64 {
        (1..self.month).map(|month| days_in_month(self.year, month) as i64).sum::<i64>()
            + self.day as i64
            - 1
    }

    fn days_since_epoch(&self) -> i64 {
        let before = self.year - 1;
        before * 365 + before / 4 - before / 100 + before / 400 + self.day_of_year() - 719_162
    }

    /// Sunday is 0.
    fn weekday(&self) -> i64 {
        (self.days_since_epoch() + 4).rem_euclid(7)
    }

    /// Year and week by ISO 8601.
    fn iso_week(&self) -> (i64, i64) {
        let monday_based = (self.weekday() + 6) % 7;
        let week = (self.day_of_year() - monday_based + 10) / 7;
        if week < 1 {
            let last = DateTime { year: self.year - 1, month: 12, day: 31, ..*self };
            return (self.year - 1, last.iso_week().1);
        }
        let length = 365 + leap(self.year) as i64;
        if week == 53 && self.day_of_year() - monday_based + 3 >= length {
            return (self.year + 1, 1);
        }
        (self.year, week)
    }

    pub fn strftime(&self, format: &str) -> Res<String> {
        let mut out = String::new();
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut taken = String::from('%');
            let (mut flag, mut width) = (None, 0usize);
            while let Some(c @ ('-' | '_' | '0' | '^' | '#')) = chars.peek().copied() {
                flag = Some(c);
                taken.push(c);
                chars.next();
            }
            while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                width = width * 10 + digit as usize;
                taken.extend(chars.next());
                if width > 4096 {
                    return value_error("Invalid format string");
                }
            }
            if let Some(c @ ('E' | 'O')) = chars.peek().copied() {
                taken.push(c);
                chars.next();
            }
            let Some(directive) = chars.next() else {
                out.push_str(&taken);
                break;
            };
            match self.directive(directive)? {
                Some(piece) => out.push_str(&piece.padded(flag, width)),
                None => {
                    out.push_str(&taken);
                    out.push(directive);
                }
            }
        }
        Ok(out)
    }

    fn directive(&self, directive: char) -> Res<Option<Piece>> {
        let number = |value: i64, width: usize| Piece::Number { value, width, fill: '0' };
        let spaced = |value: i64| Piece::Number { value, width: 2, fill: ' ' };
        let text = |text: &str| Piece::Text(text.to_string());
        let hour12 = if self.hour % 12 == 0 { 12 } else { self.hour as i64 % 12 };
        let month = MONTHS[self.month as usize - 1];
        let day = DAYS[self.weekday() as usize];
        let half = if self.hour < 12 { "AM" } else { "PM" };
        let compound = |format: &str| self.strftime(format).map(|text| Some(Piece::Text(text)));
        Ok(Some(match directive {
            'a' => text(&day[..3]),
            'A' => text(day),
            'b' | 'h' => text(&month[..3]),
            'B' => text(month),
            'c' => return compound("%a %b %e %H:%M:%S %Y"),
            'C' => number(self.year / 100, 2),
            'd' => number(self.day as i64, 2),
            'D' | 'x' => return compound("%m/%d/%y"),
            'e' => spaced(self.day as i64),
            'f' => text(&format!("{:06}", self.microsecond)),
            'F' => return compound("%Y-%m-%d"),
            'g' => number(self.iso_week().0 % 100, 2),
            'G' => number(self.iso_week().0, 1),
            'H' => number(self.hour as i64, 2),
            'I' => number(hour12, 2),
            'j' => number(self.day_of_year() + 1, 3),
            'k' => spaced(self.hour as i64),
            'l' => spaced(hour12),
            'm' => number(self.month as i64, 2),
            'M' => number(self.minute as i64, 2),
            'n' => text("\n"),
            'p' => text(half),
            'P' => text(&half.to_lowercase()),
            'r' => return compound("%I:%M:%S %p"),
            'R' => return compound("%H:%M"),
            's' => {
                let day = self.days_since_epoch() * 86_400;
                number(
                    day + self.hour as i64 * 3600 + self.minute as i64 * 60 + self.second as i64,
                    1,
                )
            }
            'S' => number(self.second as i64, 2),
            't' => text("\t"),
            'T' | 'X' => return compound("%H:%M:%S"),
            'u' => number((self.weekday() + 6) % 7 + 1, 1),
            'U' => number((self.day_of_year() + 7 - self.weekday()) / 7, 2),
            'V' => number(self.iso_week().1, 2),
            'w' => number(self.weekday(), 1),
            'W' => number((self.day_of_year() + 7 - (self.weekday() + 6) % 7) / 7, 2),
            'y' => number(self.year % 100, 2),
            'Y' => number(self.year, 1),
            // A time without a zone has nothing to say about it.
            'z' | 'Z' => text(""),
            '%' => text("%"),
            _ => return Ok(None),
        }))
    }
}

enum Piece {
    Text(String),
    Number { value: i64, width: usize, fill: char },
}

impl Piece {
    fn padded(self, flag: Option<char>, width: usize) -> String {
        let (text, own, own_fill) = match self {
            Piece::Text(text) => (text, 0, ' '),
            Piece::Number { value, width, fill } => (value.to_string(), width, fill),
        };
        let text = match flag {
            Some('^') => text.to_uppercase(),
            Some('#') if text == "AM" || text == "PM" => text.to_lowercase(),
            Some('#') => text.to_uppercase(),
            _ => text,
        };
        let fill = match flag {
            Some('_') => ' ',
            Some('0') => '0',
            _ => own_fill,
        };
        let width = if flag == Some('-') { 0 } else { own.max(width) };
        let missing = width.saturating_sub(text.chars().count());
        std::iter::repeat_n(fill, missing).collect::<String>() + &text
    }
}
