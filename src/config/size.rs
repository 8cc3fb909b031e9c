//! Sizes as strings with a unit: `"512KiB"`, `"64MiB"`, `"1GiB"`.

const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// Reads a whole number with a unit of `KiB`, `MiB` or `GiB`, in bytes. None for any other text and for what 32 bits
/// do not hold.
pub fn parse(text: &str) -> Option<u32> {
    let (digits, shift) =
        UNITS.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))?;
    // `str::parse` would take a sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u32>().ok()?.checked_mul(1 << shift)
}

/// `bytes` as [`parse`] reads it, in the largest unit that leaves no fraction.
pub fn format(bytes: u32) -> String {
    match UNITS.into_iter().find(|(_, shift)| bytes != 0 && bytes.trailing_zeros() >= *shift) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_with_a_binary_unit() {
        for (text, bytes) in [("1KiB", 1024), ("64MiB", 64 << 20), ("1GiB", 1 << 30), ("0MiB", 0)] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "64", "MiB", "64MB", "64mib", "0.5MiB", "-1MiB", "+1MiB", " 64MiB", "64 MiB", "4GiB"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_is_written_in_its_largest_unit() {
        for text in ["1KiB", "1536KiB", "64MiB", "1GiB"] {
            assert_eq!(parse(text).map(format).as_deref(), Some(text));
        }
    }
}
