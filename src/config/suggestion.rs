//! What somebody probably meant to write.

/// The candidate nearest to `word`, if one is near: no more than a third of the word's characters are inserted,
/// deleted, replaced, or swapped with their neighbour, or only the case differs. Of equally near ones, the first.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Longer than any name one would type; bounds the work for each candidate.
    const LONGEST: usize = 100;
    let word: Vec<char> = word.chars().collect();
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let farthest = (word.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let letters: Vec<char> = candidate.chars().take(LONGEST + 1).collect();
        if letters.len() > LONGEST || letters.is_empty() {
            continue;
        }
        let same_but_for_case =
            letters.len() == word.len() && letters.iter().zip(&word).all(|(a, b)| a.eq_ignore_ascii_case(b));
        let distance = if same_but_for_case {
            1
        } else if letters.len().abs_diff(word.len()) > farthest {
            continue;
        } else {
            edit_distance(&word, &letters)
        };
        // One letter replaced by another leaves nothing of a word of one letter.
        let close_enough = distance <= farthest && (distance < word.len() || same_but_for_case);
        if close_enough && best.is_none_or(|(known, _)| distance < known) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// ``; did you mean `nearest`?``, or nothing.
pub fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    nearest(word, candidates).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Optimal string alignment distance, row by row.
fn edit_distance(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous_letter: Option<char> = None;
    for (row, &letter) in from.iter().enumerate() {
        let mut current = Vec::with_capacity(to.len() + 1);
        let mut left = row + 1;
        current.push(left);
        let mut previous_other: Option<char> = None;
        for (column, &other) in to.iter().enumerate() {
            let at = |cells: &[usize], column: usize| cells.get(column).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, column) + usize::from(letter != other);
            let deleted = at(&last, column + 1) + 1;
            let inserted = left + 1;
            let mut distance = replaced.min(deleted).min(inserted);
            if previous_letter == Some(other) && previous_other == Some(letter) {
                if let Some(before) = column.checked_sub(1).and_then(|column| before_last.get(column)) {
                    distance = distance.min(before + 1);
                }
            }
            current.push(distance);
            left = distance;
            previous_other = Some(other);
        }
        before_last = std::mem::replace(&mut last, current);
        previous_letter = Some(letter);
    }
    last.last().copied().unwrap_or(from.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised() {
        for (word, meant) in [
            ("isuer", "issuer"),
            ("billing:wirte", "billing:write"),
            ("billng:write", "billing:write"),
            ("BILLING:WRITE", "billing:write"),
            ("audience", "audiences"),
            ("ISS", "iss"),
        ] {
            assert_eq!(nearest(word, ["algorithms", meant, "tenant"]), Some(meant), "{word}");
        }
    }

    #[test]
    fn another_word_is_not() {
        for word in ["x", "orders:close", "", "colour", "tenancy_of_the_first_order"] {
            assert_eq!(nearest(word, ["y", "billing:write", "issuer", ""]), None, "{word}");
        }
    }

    #[test]
    fn the_nearest_wins_and_then_the_first() {
        assert_eq!(nearest("scopes", ["scope", "scoped", "slopes"]), Some("scope"));
        assert_eq!(nearest("suite_scope", ["suites_scopes", "suite_scopes"]), Some("suite_scopes"));
    }

    #[test]
    fn distances_are_those_of_optimal_string_alignment() {
        let distance = |from: &str, to: &str| {
            edit_distance(&from.chars().collect::<Vec<_>>(), &to.chars().collect::<Vec<_>>())
        };
        for (from, to, expected) in [
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("ab", "ba", 1),
            ("ca", "abc", 3),
            ("a", "a", 0),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }
}
