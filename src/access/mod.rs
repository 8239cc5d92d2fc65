//! Who may do what: [`Right`]s on topics with certain prefixes, given to tokens and to address ranges. A
//! [`Guard`] holds the current [`Policy`] and checks credentials; an [`Access`] is what one peer may
//! do. An [`Allowance`] limits how much the holders of a token do. It knows no socket and no runtime;
//! docs/security.md has the table of rights.

mod allowance;
mod attempts;
mod bucket;
mod checker;
mod counts;
mod credentials;
mod digest;
#[cfg(feature = "cli")]
mod file;
mod gate;
mod grant;
mod guard;
mod meter;
mod policy;
mod range;
mod readers;
mod right;
mod slots;
mod verdict;

pub(crate) use allowance::Allowance;
pub use allowance::TokenLimits;
pub(crate) use bucket::Bucket;
pub use checker::Pending;
pub use counts::{Login, LoginCount};
pub use credentials::Credentials;
pub use digest::{Digest, DigestError};
#[cfg(feature = "cli")]
pub use file::{Mistake, parse_tokens};
pub(crate) use gate::{Forwarded, Gate, Limited, Open, Topics};
pub use grant::{Grant, Rule};
pub use guard::{Access, Check, Guard};
pub(crate) use meter::{Meter, Shares};
pub use policy::{Policy, Token};
pub use range::{AddressRange, RangeError};
pub use readers::warn_of_readers;
pub use right::{Right, Rights, UnknownRight};
pub(crate) use slots::{AddressSlots, SLOTS};
pub use verdict::{Denied, Verdict};
