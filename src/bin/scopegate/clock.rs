//! Times on the command line and in output: RFC 3339, or seconds since the Unix epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use scopegate::config::moment;

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
    moment::parse(text).ok_or_else(|| {
        format!("`{text}` is neither a moment such as 2026-11-22T00:00:00Z nor seconds since 1970")
    })
}

/// Writes a moment in UTC, whole seconds.
pub fn format(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let moment = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    moment.map_or_else(
        || format!("{seconds} s after 1970"),
        |moment| moment.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

/// `moment` relative to `now`: `in 5m` or `3h ago`.
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
