//! What an attacker may do to messages that it has recorded, without the secret. It may take several steps.

use crate::corpus::{Corpus, Signed, sign_as_foreigner};
use crate::message::{HEADERS, Message};
use cutout_core::webhook::{ID_HEADER, SIGNATURE_HEADER, SIGNATURES_MAX, TIMESTAMP_HEADER};
use fastrand::Rng;

mod body;
mod headers;
mod list;

/// How many steps are taken at the most.
const STEPS_MAX: usize = 3;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// One bit of the body.
    BodyBit,
    /// Part of the body.
    BodyCut,
    /// More body.
    BodyMore,
    /// The body of another message.
    BodySwapped,
    /// The same JSON in other letters.
    BodySpelt,
    /// One bit of one of the three headers.
    HeaderBit,
    /// Part of one of the three headers.
    HeaderCut,
    /// A header of another message.
    HeaderSwapped,
    /// A header left out.
    HeaderGone,
    /// A header twice.
    HeaderTwice,
    /// A header of another specification's name.
    HeaderRenamed,
    /// Blanks, tabs or quotes in or around a header.
    HeaderBlanks,
    /// Letters of a header's value in the other case.
    HeaderCase,
    /// Other spellings of the same number.
    TimeSpelt,
    /// Another time.
    TimeMoved,
    /// The dots of the signed text moved.
    DotsMoved,
    /// Another base64 for the same bytes.
    SignatureSpelt,
    /// Part of a signature's bytes.
    SignatureCut,
    /// Other versions than `v1`.
    SignatureVersion,
    /// Another way to write a list.
    ListSpelt,
    /// Further signatures beside the right ones.
    ListLonger,
    /// A signature by the attacker's own secret.
    SignedByForger,
    /// What no receiver looks at: case of names, order, further headers.
    Harmless,
}

impl Kind {
    pub(crate) const ALL: [Kind; 23] = [
        Kind::BodyBit,
        Kind::BodyCut,
        Kind::BodyMore,
        Kind::BodySwapped,
        Kind::BodySpelt,
        Kind::HeaderBit,
        Kind::HeaderCut,
        Kind::HeaderSwapped,
        Kind::HeaderGone,
        Kind::HeaderTwice,
        Kind::HeaderRenamed,
        Kind::HeaderBlanks,
        Kind::HeaderCase,
        Kind::TimeSpelt,
        Kind::TimeMoved,
        Kind::DotsMoved,
        Kind::SignatureSpelt,
        Kind::SignatureCut,
        Kind::SignatureVersion,
        Kind::ListSpelt,
        Kind::ListLonger,
        Kind::SignedByForger,
        Kind::Harmless,
    ];

    /// How it is told.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Kind::BodyBit => "a bit of the body",
            Kind::BodyCut => "the body cut",
            Kind::BodyMore => "bytes added to the body",
            Kind::BodySwapped => "the body of another message",
            Kind::BodySpelt => "the same JSON in other letters",
            Kind::HeaderBit => "a bit of a header",
            Kind::HeaderCut => "a header cut",
            Kind::HeaderSwapped => "a header of another message",
            Kind::HeaderGone => "a header left out",
            Kind::HeaderTwice => "a header twice",
            Kind::HeaderRenamed => "a header by another name",
            Kind::HeaderBlanks => "blanks and quotes around a header",
            Kind::HeaderCase => "letters in the other case",
            Kind::TimeSpelt => "the time in other digits",
            Kind::TimeMoved => "another time",
            Kind::DotsMoved => "the dots of the signed text moved",
            Kind::SignatureSpelt => "a signature in other base64",
            Kind::SignatureCut => "a signature cut, as bytes",
            Kind::SignatureVersion => "another version of signature",
            Kind::ListSpelt => "the list of signatures written otherwise",
            Kind::ListLonger => "further signatures in the list",
            Kind::SignedByForger => "a signature by a foreign secret",
            Kind::Harmless => "names' case, order, further headers",
        }
    }

    /// Whether the step alone may leave a message the same as a signed one: it may change a signature beside the right one,
    /// or what nobody looks at.
    #[cfg(test)]
    pub(crate) fn may_be_harmless(self) -> bool {
        use Kind::{
            Harmless, HeaderBit, HeaderBlanks, HeaderCase, HeaderCut, ListLonger, ListSpelt, SignatureCut,
            SignatureSpelt, SignatureVersion, SignedByForger,
        };
        let beside_the_right_one = [
            HeaderBit,
            HeaderBlanks,
            HeaderCase,
            HeaderCut,
            ListLonger,
            ListSpelt,
            SignatureCut,
            SignatureSpelt,
            SignatureVersion,
            SignedByForger,
        ];
        self == Harmless || beside_the_right_one.contains(&self)
    }

    /// Does the step to a message.
    fn take(self, message: &mut Message, rng: &mut Rng, corpus: &Corpus) {
        let another = other(rng, corpus);
        match self {
            Kind::BodyBit => body::bit(message, rng),
            Kind::BodyCut => body::cut(message, rng),
            Kind::BodyMore => body::more(message, rng),
            Kind::BodySwapped => message.body.clone_from(&another.body),
            Kind::BodySpelt => body::spelt(message, rng),
            Kind::HeaderBit => headers::bit(message, rng),
            Kind::HeaderCut => headers::cut(message, rng),
            Kind::HeaderSwapped => headers::swapped(message, rng, another),
            Kind::HeaderGone => headers::gone(message, rng),
            Kind::HeaderTwice => headers::twice(message, rng, another),
            Kind::HeaderRenamed => headers::renamed(message, rng),
            Kind::HeaderBlanks => headers::blanks(message, rng),
            Kind::HeaderCase => headers::case(message, rng),
            Kind::TimeSpelt => headers::time_spelt(message, rng),
            Kind::TimeMoved => headers::time_moved(message, rng, corpus.now_secs),
            Kind::DotsMoved => headers::dots_moved(message, rng),
            Kind::SignatureSpelt => list::spelt(message, rng),
            Kind::SignatureCut => list::cut(message, rng),
            Kind::SignatureVersion => list::version(message, rng),
            Kind::ListSpelt => list::separated(message, rng),
            Kind::ListLonger => list::longer(message, rng, corpus),
            Kind::SignedByForger => by_forger(message, rng),
            Kind::Harmless => headers::harmless(message, rng),
        }
    }
}

/// A recorded message after one to three steps, which did change something, and which these were.
pub(crate) fn forged(rng: &mut Rng, corpus: &Corpus) -> (Vec<Kind>, Message) {
    loop {
        let recorded = other(rng, corpus).message();
        let steps = 0..rng.usize(1..=STEPS_MAX);
        let kinds: Vec<Kind> = steps.map(|_| Kind::ALL[rng.usize(..Kind::ALL.len())]).collect();
        let mut message = recorded.clone();
        kinds.iter().for_each(|kind| kind.take(&mut message, rng, corpus));
        if message != recorded {
            return (kinds, message);
        }
    }
}

/// Any message that was signed.
fn other<'a>(rng: &mut Rng, corpus: &'a Corpus) -> &'a Signed {
    &corpus.signed[rng.usize(..corpus.signed.len())]
}

/// One of some.
fn pick<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.usize(..of.len())]
}

/// Any of the three headers' values.
fn any_value<'a>(message: &'a mut Message, rng: &mut Rng) -> &'a mut String {
    message.value_mut(pick(rng, &HEADERS))
}

/// A place in a text where a letter begins, or its end.
fn place(text: &str, rng: &mut Rng) -> usize {
    text.floor_char_boundary(rng.usize(..=text.len()))
}

/// Signs what the message says by now with a secret that the service does not know.
fn by_forger(message: &mut Message, rng: &mut Rng) {
    let id = message.value_mut(ID_HEADER).clone();
    let sent_secs = message.value_mut(TIMESTAMP_HEADER).trim().parse().unwrap_or_default();
    let signature = sign_as_foreigner(&id, sent_secs, &message.body);
    let list = message.value_mut(SIGNATURE_HEADER);
    match rng.bool() {
        true => *list = signature,
        false => list.insert_str(0, &format!("{signature} ")),
    }
}

/// More signatures than are looked at, or fewer.
fn how_many(rng: &mut Rng) -> usize {
    rng.usize(1..=SIGNATURES_MAX + 2)
}
