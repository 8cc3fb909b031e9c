//! Durations as strings with a unit: `"0.5s"`, `"200ms"`, `"10m"`, `"1h"`.

use std::time::Duration;

/// Reads a decimal number with a unit of `ms`, `s`, `m` or `h`, and nothing else. None for any other text, for what
/// no [`Duration`] holds, and for a fraction of more than nine digits.
pub fn parse(text: &str) -> Option<Duration> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(digits_end)?;
    let nanoseconds_per_unit: u128 = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (integer, fraction) = match number.split_once('.') {
        Some((integer, fraction)) => (integer, Some(fraction)),
        None => (number, None),
    };
    let whole = u128::from(digits(integer)?) * nanoseconds_per_unit;
    let part = match fraction {
        None => 0,
        Some(fraction) if fraction.len() > 9 => return None,
        Some(fraction) => {
            let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
            u128::from(digits(fraction)?) * nanoseconds_per_unit / scale
        }
    };
    let total = whole + part;
    let seconds = u64::try_from(total / 1_000_000_000).ok()?;
    let nanoseconds = u32::try_from(total % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, nanoseconds))
}

/// `duration` as [`parse`] reads it, in the largest unit that leaves no fraction.
pub fn format(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0 => "0s".to_owned(),
        _ if milliseconds.is_multiple_of(3_600_000) => format!("{}h", milliseconds / 3_600_000),
        _ if milliseconds.is_multiple_of(60_000) => format!("{}m", milliseconds / 60_000),
        _ if milliseconds.is_multiple_of(1_000) => format!("{}s", milliseconds / 1_000),
        _ => format!("{milliseconds}ms"),
    }
}

fn digits(text: &str) -> Option<u64> {
    // `str::parse` would take a sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_unit_is_a_duration() {
        for (text, milliseconds) in [
            ("0.5s", 500),
            ("200ms", 200),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("1.5h", 5_400_000),
            ("0s", 0),
            ("0.001s", 1),
            ("00060s", 60_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse("0.000000001s"), Some(Duration::from_nanos(1)));
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "s",
            "5",
            "5 s",
            " 5s",
            "5s ",
            "-5s",
            "+5s",
            ".5s",
            "5.s",
            "1.2.3s",
            "1e3s",
            "5S",
            "5sec",
            "5d",
            "1h30m",
            "0.0000000001s",
            "99999999999999999999s",
            "５s",
            "1_000s",
            "18446744073709551615h",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for milliseconds in [0, 1, 999, 1_000, 1_001, 60_000, 61_000, 3_600_000, 3_660_000, 86_400_000] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse(&format(duration)), Some(duration));
        }
        assert_eq!(format(Duration::from_secs(600)), "10m");
    }
}
