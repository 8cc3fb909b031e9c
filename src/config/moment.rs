//! Moments in RFC 3339.

use std::time::Duration;

/// Reads `2026-11-22T12:00:00Z`, with an offset or a fraction (RFC 3339 section 5.6), as the time since the Unix epoch.
/// None where it is none, lies before 1970 or in a leap second.
pub fn parse(text: &str) -> Option<Duration> {
    let (date, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = time.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, offset) = match rest.strip_prefix('.') {
        None => (Duration::ZERO, rest),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, offset) = rest.split_at_checked(end).filter(|(digits, _)| !digits.is_empty())?;
            let nanoseconds = format!("{:0<9.9}", digits).parse().ok()?;
            (Duration::from_nanos(nanoseconds), offset)
        }
    };
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = seconds - offset_seconds(offset)?;
    Some(Duration::from_secs(seconds.try_into().ok()?) + fraction)
}

/// Whole numbers of these many digits with `separator` between them.
fn numbers(text: &str, separator: char, lengths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next().filter(|part| part.len() == length)?;
        *number = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

/// `Z`, or `+01:30` and its like.
fn offset_seconds(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = text.strip_prefix(['+', '-'])?;
    let [hours, minutes, _] = numbers(&format!("{digits}:00"), ':', [2, 2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Days of the Gregorian calendar, years reckoned from March so that a leap day is their last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_years = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    of_years + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_in_every_form_of_rfc_3339() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2027-01-15T08:00:00Z", 1_800_000_000),
            ("2027-01-15t09:00:00+01:00", 1_800_000_000),
            ("2027-01-15 02:30:00-05:30", 1_800_000_000),
            ("2024-02-29T00:00:00z", 1_709_164_800),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("1970-01-01T00:00:01.5Z"), Some(Duration::from_millis(1_500)));
        assert_eq!(parse("1970-01-01T00:00:00.1234567891Z"), Some(Duration::from_nanos(123_456_789)));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "now",
            "1800000000",
            "2027-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2027-13-01T00:00:00Z",
            "2027-00-01T00:00:00Z",
            "2027-01-00T00:00:00Z",
            "2027-01-15T24:00:00Z",
            "2027-01-15T08:60:00Z",
            "2027-01-15T08:00:60Z",
            "2027-01-15",
            "2027-01-15T08:00:00",
            "2027-01-15T08:00:00.Z",
            "2027-01-15T08:00:00+25:00",
            "2027-01-15T08:00:00+01",
            "2027-01-15T08:00:00+01:00:00",
            "+027-01-15T08:00:00Z",
            "1969-12-31T23:59:59Z",
            "2027-01-15T08:00:00Zé",
            "20270115T080000ZZZZZ",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
