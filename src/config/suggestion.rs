//! What somebody probably meant to write.

/// The candidate nearest to `word`, if one is near: no more than a third of the word's characters are inserted,
/// deleted, replaced, or swapped with their neighbour, or only the case differs. Of equally near ones, the first.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Longer than any name one would type; bounds the work for each candidate.
    const LONGEST: usize = 100;
    let length = word.chars().count();
    if length == 0 || length > LONGEST {
        return None;
    }
    let farthest = (length / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let candidate_length = candidate.chars().take(LONGEST + 1).count();
        if candidate_length > LONGEST || candidate_length == 0 {
            continue;
        }
        let same_but_for_case = candidate.eq_ignore_ascii_case(word);
        let distance = if same_but_for_case {
            1
        } else if candidate_length.abs_diff(length) > farthest {
            continue;
        } else {
            strsim::osa_distance(word, candidate)
        };
        // For a one-letter word, one replacement would match anything.
        let close_enough = distance <= farthest && (distance < length || same_but_for_case);
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
}
