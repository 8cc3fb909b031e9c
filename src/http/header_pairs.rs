//! Headers as a proxy-wasm host gives and takes them: the count, then the sizes of each name and value, then each name and
//! value with a NUL behind it, all numbers in 32 bits, little endian.

use super::headers::Header;
use super::search::have_upper_case;

/// Headers in the ABI's serialization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPairs(Vec<u8>);

impl HeaderPairs {
    /// Headers in this order, names in lower case. Each value is given in pieces.
    pub fn new<'h, V: AsRef<[&'h str]>>(
        headers: impl IntoIterator<Item = (&'h str, V), IntoIter: Clone>,
    ) -> Self {
        let headers = headers.into_iter();
        let size_of = |value: &V| value.as_ref().iter().map(|piece| piece.len()).sum::<usize>();
        let (mut count, mut size) = (0, 4);
        for (name, value) in headers.clone() {
            count += 1;
            size += 8 + name.len() + 1 + size_of(&value) + 1;
        }
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&number(count));
        for (name, value) in headers.clone() {
            bytes.extend_from_slice(&number(name.len()));
            bytes.extend_from_slice(&number(size_of(&value)));
        }
        for (name, value) in headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
            for piece in value.as_ref() {
                bytes.extend_from_slice(piece.as_bytes());
            }
            bytes.push(0);
        }
        Self(bytes)
    }

    /// The same headers with `pieces` before the last byte of the first one's value; none where that is empty.
    pub fn with_in_first(&self, pieces: [&str; 2]) -> Option<Self> {
        let count = number_at(&self.0, 0)?;
        let (name_size, value_size) = (number_at(&self.0, 4)?, number_at(&self.0, 8)?);
        let last = 4 + 8 * count + name_size + 1 + value_size.checked_sub(1)?;
        let (before, after) = (self.0.get(..last)?, self.0.get(last..)?);
        let [one, two] = pieces.map(str::as_bytes);
        let mut bytes = [before, one, two, after].concat();
        bytes.get_mut(8..12)?.copy_from_slice(&number(value_size + one.len() + two.len()));
        Some(Self(bytes))
    }

    /// No headers.
    pub fn none() -> Self {
        Self(0_u32.to_le_bytes().to_vec())
    }

    /// The serialization.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let number = |at| number_at(&self.0, at).unwrap_or_default();
        let count = number(0);
        let mut at = 4 + 8 * count;
        let mut next = move |size: usize| {
            let text = self.0.get(at..at + size).and_then(|bytes| std::str::from_utf8(bytes).ok());
            at += size + 1;
            text.unwrap_or_default()
        };
        (0..count).map(move |index| (next(number(4 + 8 * index)), next(number(8 + 8 * index))))
    }

    /// The value of the header `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// The headers that a host has written, names in lower case; None where it has written something else. Of values any bytes
/// are taken; no bytes at all are no headers.
pub fn read_pairs(bytes: &mut [u8]) -> Option<Vec<Header<'_>>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let size = |four: &[u8; 4]| usize::try_from(u32::from_le_bytes(*four)).ok();
    let (count, rest) = bytes.split_first_chunk_mut()?;
    let (sizes, mut rest) = rest.split_at_mut_checked(size(count)?.checked_mul(8)?)?;
    let mut pairs = Vec::with_capacity(sizes.len() / 8);
    for sizes in sizes.chunks_exact(8) {
        let (name, after) = rest.split_at_mut_checked(size(sizes.first_chunk()?)?)?;
        let (value, after) = after.split_first_mut()?.1.split_at_mut_checked(size(sizes.last_chunk()?)?)?;
        if have_upper_case(name) {
            name.make_ascii_lowercase();
        }
        pairs.push((&*name, &*value));
        rest = after.get_mut(1..).unwrap_or_default();
    }
    Some(pairs)
}

fn number(size: usize) -> [u8; 4] {
    u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes()
}

fn number_at(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(four) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_are_written_as_the_abi_says() {
        let headers = HeaderPairs::new([("ab", &["c", "", "de"][..]), ("f", &[])]);
        let expected = b"\x02\0\0\0\x02\0\0\0\x03\0\0\0\x01\0\0\0\0\0\0\0ab\0cde\0f\0\0";
        assert_eq!(headers.as_bytes(), expected);
        assert_eq!((headers.get("ab"), headers.get("f"), headers.get("g")), (Some("cde"), Some(""), None));
    }

    #[test]
    fn what_is_put_into_the_first_value_stands_before_its_last_byte() {
        let headers = HeaderPairs::new([("ab", ["\"c\""]), ("f", ["g"])]);
        let longer = HeaderPairs::new([("ab", ["\"cde\""]), ("f", ["g"])]);
        assert_eq!(headers.with_in_first(["d", "e"]), Some(longer));
        assert_eq!(headers.with_in_first(["", ""]), Some(headers));
        assert_eq!(HeaderPairs::new([("ab", [""]), ("f", ["g"])]).with_in_first(["d", "e"]), None);
        assert_eq!(HeaderPairs::none().with_in_first(["d", "e"]), None);
    }

    #[test]
    fn no_headers_are_a_count_of_zero() {
        assert_eq!(HeaderPairs::none(), HeaderPairs::new([("", [""]); 0]));
        assert_eq!((HeaderPairs::none().as_bytes(), HeaderPairs::none().iter().count()), (&[0; 4][..], 0));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(headers in proptest::collection::vec((any::<String>(), any::<[String; 3]>()), 0..5)) {
            let pieces = headers.iter().map(|(name, value)| (name.as_str(), value.each_ref().map(String::as_str)));
            let pairs = HeaderPairs::new(pieces);
            let read: Vec<(&str, &str)> = pairs.iter().collect();
            let whole: Vec<(&str, String)> = headers.iter().map(|(name, value)| (name.as_str(), value.concat())).collect();
            let whole: Vec<(&str, &str)> = whole.iter().map(|(name, value)| (*name, value.as_str())).collect();
            prop_assert_eq!(read, whole.clone());
            let mut bytes = pairs.as_bytes().to_vec();
            let lower: Vec<_> = whole.iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
            let expected: Vec<_> = lower.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            prop_assert_eq!(read_pairs(&mut bytes), Some(expected));
        }

        #[test]
        fn whatever_a_host_writes_is_headers_or_none(
            mut bytes in proptest::collection::vec(prop_oneof![3 => 0_u8..6, 1 => any::<u8>()], 0..40),
        ) {
            let length = bytes.len();
            if let Some(pairs) = read_pairs(&mut bytes) {
                let size: usize = pairs.iter().map(|(name, value)| 8 + name.len() + 1 + value.len()).sum();
                prop_assert!(size <= length);
            }
        }
    }
}
