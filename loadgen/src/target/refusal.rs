//! What a refusal says about its request: whether it may be sent again.

/// What became of a request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was not applied, because nobody can serve the topic at the moment. It can be sent again.
    Unavailable,
    /// It was not applied, because a queue is full or the topic has another owner. It can be sent again.
    Busy,
    /// It may have been applied.
    Unknown,
    /// It was not applied, and would be refused again.
    Refused,
}

impl Fate {
    /// Returns what a refusal says, which begins with its code. The codes of the Redis protocol are those
    /// that globalcounter and Redis Cluster use.
    pub(crate) fn of(message: &str) -> Self {
        match message.split(' ').next().unwrap_or_default() {
            "UNAVAILABLE" | "CLUSTERDOWN" => Self::Unavailable,
            "BUSY" | "NOT_OWNER" | "TRYAGAIN" => Self::Busy,
            "UNKNOWN" => Self::Unknown,
            // A change that waited for the store when it failed may be durable.
            "STORE" | "MISCONF" => Self::Unknown,
            "ERR" if message.starts_with("ERR the outcome is unknown") => Self::Unknown,
            _ => Self::Refused,
        }
    }

    /// Returns whether the request was not applied and can be sent again.
    pub(crate) fn can_be_sent_again(self) -> bool {
        matches!(self, Self::Unavailable | Self::Busy)
    }
}

#[cfg(test)]
mod tests {
    use globalcounter::protocol::resp::Refusal;
    use globalcounter::protocol::{ErrorCode, Reply};

    use super::super::interface::Outcome;
    use super::*;

    #[test]
    fn both_texts_of_each_code_say_the_same() {
        for code in ErrorCode::ALL {
            let expected = match code {
                ErrorCode::Unavailable => Fate::Unavailable,
                ErrorCode::Busy | ErrorCode::NotOwner => Fate::Busy,
                ErrorCode::Unknown | ErrorCode::Store => Fate::Unknown,
                _ => Fate::Refused,
            };
            let Outcome::Refused(message) = Outcome::from(Reply::Error(code)) else {
                panic!("{code:?} is a refusal");
            };
            assert_eq!(Fate::of(&message), expected, "{message}");
            assert_eq!(
                expected == Fate::Unknown,
                code.may_have_been_applied(),
                "{code:?}"
            );
            // In the Redis protocol, a new owner is reported like a missing one.
            let expected = match code {
                ErrorCode::NotOwner => Fate::Unavailable,
                _ => expected,
            };
            let text = Refusal::Code(code).to_string();
            assert_eq!(Fate::of(&text), expected, "{text}");
        }
        assert_eq!(Fate::of(""), Fate::Refused);
        assert!(Fate::Busy.can_be_sent_again() && !Fate::Unknown.can_be_sent_again());
    }
}
