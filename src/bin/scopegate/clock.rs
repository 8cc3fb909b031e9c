//! Moments as people write them: RFC 3339, or seconds since the epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, since the epoch.
#[allow(clippy::disallowed_methods, reason = "the tool is where a clock may be read")]
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Reads `2026-11-22T00:00:00Z`, with an offset or a fraction, or a number of seconds since the epoch.
pub fn parse(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    parse_rfc3339(text).ok_or_else(|| {
        format!("`{text}` is neither a moment such as 2026-11-22T00:00:00Z nor seconds since 1970")
    })
}

/// Writes a moment in UTC, whole seconds.
pub fn format(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let Some((year, month, day)) =
        i64::try_from(days).ok().filter(|days| *days < 3_000_000).map(civil_from_days)
    else {
        return format!("{seconds} s after 1970");
    };
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// How `moment` lies to `now`: `in 5m` or `3h ago`.
pub fn relative(moment: Duration, now: Duration) -> String {
    let length = |span: Duration| match span.as_secs() {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7_199 => format!("{}m", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    };
    match moment.checked_sub(now) {
        Some(left) => format!("in {}", length(left)),
        None => format!("{} ago", length(now.saturating_sub(moment))),
    }
}

fn parse_rfc3339(text: &str) -> Option<Duration> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
    let (time, offset) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => {
            let at = time.rfind(['+', '-'])?;
            let (time, offset) = time.split_at_checked(at)?;
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let seconds = number(hours, 2).filter(|hours| *hours < 24)? * 3_600
                + number(minutes, 2).filter(|minutes| *minutes < 60)? * 60;
            (time, if offset.starts_with('-') { -seconds } else { seconds })
        }
    };
    let (time, fraction) = match time.split_once('.') {
        Some((time, digits)) => {
            (time, format!("0.{digits}").parse::<f64>().ok().filter(|_| is_digits(digits))?)
        }
        None => (time, 0.0),
    };
    let mut time = time.splitn(3, ':');
    let (hour, minute, second) =
        (number(time.next()?, 2)?, number(time.next()?, 2)?, number(time.next()?, 2)?);
    let days = days_from_civil(year, month, day);
    let is_real = civil_from_days(days) == (year, month, day) && hour < 24 && minute < 60 && second <= 60;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    let whole = u64::try_from(seconds).ok().filter(|_| is_real)?;
    Some(Duration::from_secs(whole) + Duration::try_from_secs_f64(fraction).ok()?)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    text.parse().ok().filter(|_| text.len() == digits && is_digits(text))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Days since 1970-01-01 of a date in the Gregorian calendar; years begin in March so that the leap day ends one.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_in_every_form_of_rfc_3339() {
        for (text, seconds) in [
            ("0", 0),
            ("1800000000", 1_800_000_000),
            ("1970-01-01T00:00:00Z", 0),
            ("2027-01-15T08:00:00Z", 1_800_000_000),
            ("2027-01-15t09:00:00+01:00", 1_800_000_000),
            ("2027-01-15 02:30:00-05:30", 1_800_000_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800),
            ("2000-02-29T23:59:59Z", 951_868_799),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("1970-01-01T00:00:01.5Z"), Ok(Duration::from_millis(1_500)));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "now",
            "-1",
            "2027-02-29T00:00:00Z",
            "2027-13-01T00:00:00Z",
            "2027-01-15T24:00:00Z",
            "2027-01-15",
            "2027-01-15T08:00:00",
            "2027-01-15T08:00:00.Z",
            "1969-12-31T23:59:59Z",
            "2027-01-15T08:00:00+25:00",
            "+027-01-15T08:00:00Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for day in (0..200_000).step_by(13) {
            let moment = Duration::from_secs(day * 86_400 + 86_399);
            assert_eq!(parse(&format(moment)), Ok(moment));
        }
        assert_eq!(format(Duration::from_secs(u64::MAX)), format!("{} s after 1970", u64::MAX));
    }
}
