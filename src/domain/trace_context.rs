//! Which trace a request belongs to (W3C Trace Context).

use std::fmt;

/// A trace, across everybody who takes part in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// One step of a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

/// What one `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace_id: TraceId,
    /// The caller's span.
    pub span_id: SpanId,
    /// Whether the caller records it.
    pub sampled: bool,
}

// === impl TraceId ===

impl TraceId {
    /// Of random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// As it is sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its last 56 bits, which are random in every trace whose maker keeps to Trace Context level 2.
    #[must_use]
    pub fn randomness(&self) -> u64 {
        self.0[9..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl SpanId ===

impl SpanId {
    /// Of random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// As it is sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Another one of the same trace, the first, second and so on beside this one: a whole request draws once.
    #[must_use]
    pub const fn beside(self, number: u64) -> Self {
        Self((u64::from_be_bytes(self.0) ^ number).to_be_bytes())
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl TraceParent ===

impl TraceParent {
    /// Reads a `traceparent` whose version we can read (W3C Trace Context §3.2). A malformed one counts as none.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut fields = header.split('-');
        let [version] = bytes(fields.next()?)?;
        let (trace, parent) = (bytes(fields.next()?)?, bytes(fields.next()?)?);
        let [flags]: [u8; 1] = bytes(fields.next()?)?;
        let well_formed = version != 0xff
            && trace != [0; 16]
            && parent != [0; 8]
            // Only a later version may have more fields.
            && (version != 0 || fields.next().is_none());
        let (trace_id, span_id) = (TraceId(trace), SpanId(parent));
        well_formed.then_some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }
}

/// Two digits a byte, in small letters and of this length.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_trace_counts_as_none_w3c_trace_context_3_2() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (good, sampled) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", true),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true),
        ] {
            let parent = TraceParent::parse(good).unwrap();
            assert_eq!((parent.trace_id.to_string(), parent.sampled), (trace.to_owned(), sampled), "{good}");
            assert_eq!(parent.span_id.to_string(), "00f067aa0ba902b7");
        }
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47360-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn spans_beside_each_other_differ() {
        let first = SpanId::new([0xf0; 8]);
        assert_ne!(first.beside(1), first);
        assert_ne!(first.beside(1), first.beside(2));
        assert_eq!(TraceId::new([0xff; 16]).randomness(), (1 << 56) - 1);
    }
}
