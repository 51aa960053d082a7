//! Just as much of Protocol Buffers' wire format as a message needs that is only written.

/// A message, field by field.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

/// How a field is written (<https://protobuf.dev/programming-guides/encoding/#structure>).
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    Fixed32 = 5,
}

// === impl Message ===

impl Message {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A whole number, a truth value or a word of an enumeration. A negative one is written as its two's complement.
    pub(super) fn number(&mut self, field: u8, value: u64) {
        self.tag(field, Wire::Varint);
        self.varint(value);
    }

    pub(super) fn fixed32(&mut self, field: u8, value: u32) {
        self.tag(field, Wire::Fixed32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn fixed64(&mut self, field: u8, value: u64) {
        self.tag(field, Wire::Fixed64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, field: u8, bytes: &[u8]) {
        self.tag(field, Wire::Length);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, field: u8, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// A message in this one.
    pub(super) fn message(&mut self, field: u8, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn tag(&mut self, field: u8, wire: Wire) {
        self.varint(u64::from(field) << 3 | wire as u64);
    }

    /// Seven bits a byte, the last ones first; the highest bit says whether more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the encoding's own description.
    #[test]
    fn fields_are_written_as_protobuf_dev_says() {
        let written = |write: fn(&mut Message)| {
            let mut message = Message::default();
            write(&mut message);
            message.into_bytes()
        };
        assert_eq!(written(|message| message.number(1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(written(|message| message.text(2, "testing")), b"\x12\x07testing");
        let nested = written(|message| message.message(3, |inner| inner.number(1, 150)));
        assert_eq!(nested, [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(
            written(|message| message.number(1, (-2_i64).cast_unsigned()))[1..],
            [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]
        );
        // Field 16 and beyond take two bytes.
        assert_eq!(written(|message| message.fixed32(16, 1)), [0x85, 0x01, 1, 0, 0, 0]);
        assert_eq!(written(|message| message.fixed64(7, 2)), [0x39, 2, 0, 0, 0, 0, 0, 0, 0]);
    }
}
