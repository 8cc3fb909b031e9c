//! Moments in RFC 3339.

use std::time::Duration;

use chrono::DateTime;

/// Reads `2026-11-22T12:00:00Z`, with an offset or a fraction (RFC 3339 section 5.6), as the time since the Unix epoch.
/// None where it is none, lies before 1970 or in a leap second.
pub fn parse(text: &str) -> Option<Duration> {
    const SECOND: u32 = 1_000_000_000;
    let moment = DateTime::parse_from_rfc3339(text).ok()?;
    let seconds = moment.timestamp().try_into().ok()?;
    // A leap second is a second and more behind the one before it.
    let nanoseconds = Some(moment.timestamp_subsec_nanos()).filter(|nanoseconds| *nanoseconds < SECOND)?;
    Some(Duration::new(seconds, nanoseconds))
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
