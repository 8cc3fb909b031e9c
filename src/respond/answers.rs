//! The answers of one policy, at hand: whoever sends requests chooses how many are refused.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::challenge::Schemes;
use super::reason::{ErrorClass, Reason};
use super::rejection::{Answer, DEFAULT_RETRY_AFTER, Rejection};

/// The answers to refusals under one policy. One that the reason alone makes is made once and kept, two for each reason
/// at most; nothing is kept by what a request holds.
#[derive(Debug)]
pub struct Answers {
    realm: Box<str>,
    strip: bool,
    schemes: Schemes,
    /// By reason, each for other requests and for those of gRPC.
    of_reasons: Box<[[OnceCell<Answer>; 2]]>,
}

impl Answers {
    /// Answers with challenges of this realm. With `strip`, each is the status and the challenge alone.
    pub fn new(realm: &str, strip: bool) -> Self {
        let of_reasons = Reason::ALL.iter().map(|_| Default::default()).collect();
        Self { realm: realm.into(), strip, schemes: Schemes::default(), of_reasons }
    }

    /// The same with challenges for these schemes.
    #[must_use]
    pub fn with_schemes(self, schemes: Schemes) -> Self {
        Self { schemes, ..Self::new(&self.realm, self.strip) }
    }

    /// The answer to `rejection`.
    pub fn to(&self, rejection: &Rejection, is_grpc: bool) -> Cow<'_, Answer> {
        let make = |rejection: &Rejection| match is_grpc {
            true => Answer::to_grpc(rejection, &self.realm, self.strip, &self.schemes),
            false => Answer::new(rejection, &self.realm, self.strip, &self.schemes),
        };
        let of_reason = |reason: Reason| {
            let [other, grpc] = self.of_reasons.get(reason as usize)?;
            let kept = if is_grpc { grpc } else { other };
            Some(kept.get_or_init(|| make(&reason.into())))
        };
        let answer = match rejection {
            Rejection {
                reason,
                about: None,
                sufficient_scope: None,
                retry_after: DEFAULT_RETRY_AFTER,
                challenge: None,
            } => of_reason(*reason).map(Cow::Borrowed),
            Rejection { reason, about: None, sufficient_scope: Some(scope), challenge: None, .. }
                if reason.class() == ErrorClass::InsufficientScope =>
            {
                of_reason(*reason).and_then(|answer| answer.with_scope(scope)).map(Cow::Owned)
            }
            Rejection { .. } => None,
        };
        answer.unwrap_or_else(|| Cow::Owned(make(rejection)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_rejection() -> impl Strategy<Value = Rejection> {
        let text = || proptest::option::of(prop_oneof!["[ -~]{0,9}", any::<String>()]);
        let reason = proptest::sample::select(Reason::ALL);
        (reason, text(), text(), prop_oneof![4 => Just(DEFAULT_RETRY_AFTER), 1 => 0..100_u32]).prop_map(
            |(reason, about, scope, retry_after)| Rejection {
                reason,
                about: about.map(String::into_boxed_str),
                sufficient_scope: scope.map(String::into_boxed_str),
                retry_after,
                challenge: None,
            },
        )
    }

    fn made(rejection: &Rejection, realm: &str, strip: bool, is_grpc: bool) -> Answer {
        let schemes = Schemes::default();
        match is_grpc {
            true => Answer::to_grpc(rejection, realm, strip, &schemes),
            false => Answer::new(rejection, realm, strip, &schemes),
        }
    }

    #[test]
    fn what_is_kept_for_a_reason_is_what_is_made_for_it() {
        for realm in ["plm", "q\"b\\s", ""] {
            for strip in [false, true] {
                let answers = Answers::new(realm, strip);
                for round in 0..2 {
                    for reason in Reason::ALL {
                        for is_grpc in [false, true] {
                            let rejection = (*reason).into();
                            let answer = answers.to(&rejection, is_grpc);
                            assert!(matches!(answer, Cow::Borrowed(_)), "{reason}");
                            assert_eq!(*answer, made(&rejection, realm, strip, is_grpc), "{reason} {round}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_scope_that_would_do_stands_in_the_answer_as_if_it_had_always() {
        for realm in ["plm", "q\"b\\s", ""] {
            for strip in [false, true] {
                let answers = Answers::new(realm, strip);
                for reason in Reason::ALL {
                    for scope in ["a:read b", "", "\"\\\n}"] {
                        for is_grpc in [false, true] {
                            let rejection =
                                Rejection { sufficient_scope: Some(scope.into()), ..(*reason).into() };
                            let answer = answers.to(&rejection, is_grpc);
                            assert_eq!(*answer, made(&rejection, realm, strip, is_grpc), "{reason}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_reason_has_a_place() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place, "{reason}");
        }
    }

    proptest! {
        #[test]
        fn answers_do_not_depend_on_those_given_before(
            rejections in proptest::collection::vec((any_rejection(), any::<bool>()), 1..30),
            realm in prop_oneof!["[ -~]{0,9}", any::<String>()],
            strip in any::<bool>(),
        ) {
            let answers = Answers::new(&realm, strip);
            for (rejection, is_grpc) in rejections {
                let answer = answers.to(&rejection, is_grpc);
                prop_assert_eq!(&*answer, &made(&rejection, &realm, strip, is_grpc));
                if !strip && !is_grpc {
                    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                    prop_assert_eq!(body["error_description"].as_str(), Some(&*rejection.description()));
                    prop_assert_eq!(body["reason"].as_str(), Some(rejection.reason.as_str()));
                    prop_assert_eq!(body["scope"].as_str(), rejection.sufficient_scope.as_deref());
                }
            }
        }
    }
}
