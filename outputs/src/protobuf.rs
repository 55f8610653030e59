//! Writes Protocol Buffers messages (<https://protobuf.dev/programming-guides/encoding/>): as much as the messages here
//! need, which are few and never read.

/// A message that is being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<u8>);

/// The wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn uint(&mut self, field: u64, value: u64) {
        self.key(field, VARINT);
        self.varint(value);
    }

    /// `sint32` and `sint64`.
    pub(crate) fn sint(&mut self, field: u64, value: i64) {
        self.uint(field, zigzag(value));
    }

    pub(crate) fn double(&mut self, field: u64, value: f64) {
        self.fixed(field, value.to_bits());
    }

    /// `fixed64` and `sfixed64`.
    pub(crate) fn fixed(&mut self, field: u64, value: u64) {
        self.key(field, FIXED64);
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn text(&mut self, field: u64, text: &str) {
        self.key(field, BYTES);
        self.varint(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    /// A message in this one.
    pub(crate) fn message(&mut self, field: u64, inner: &Message) {
        self.key(field, BYTES);
        self.delimited(inner);
    }

    /// A message after its length, as streams of messages have them.
    pub(crate) fn delimited(&mut self, inner: &Message) {
        self.varint(inner.0.len() as u64);
        self.0.extend(&inner.0);
    }

    /// A packed list of unsigned numbers.
    pub(crate) fn uints(&mut self, field: u64, values: impl IntoIterator<Item = u64>) {
        let mut list = Self::new();
        values.into_iter().for_each(|value| list.varint(value));
        self.message(field, &list);
    }

    /// A packed list of `sint64`.
    pub(crate) fn sints(&mut self, field: u64, values: impl IntoIterator<Item = i64>) {
        self.uints(field, values.into_iter().map(zigzag));
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_as_the_specification_shows() {
        let mut message = Message::new();
        message.uint(1, 150);
        assert_eq!(message.bytes(), [0x08, 0x96, 0x01]);
        let mut message = Message::new();
        message.text(2, "testing");
        assert_eq!(message.bytes(), b"\x12\x07testing");
        let mut inner = Message::new();
        inner.uint(1, 150);
        let mut message = Message::new();
        message.message(3, &inner);
        assert_eq!(message.bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let mut message = Message::new();
        message.uints(6, [3, 270, 86942]);
        assert_eq!(
            message.bytes(),
            [0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05]
        );
        let mut message = Message::new();
        message.double(1, 1.0);
        assert_eq!(message.bytes(), [0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
    }

    #[test]
    fn signed_numbers_zigzag() {
        for (value, encoded) in [
            (0, 0),
            (-1, 1),
            (1, 2),
            (-2, 3),
            (0x7fff_ffff, 0xffff_fffe),
            (i64::MIN, u64::MAX),
        ] {
            assert_eq!(zigzag(value), encoded);
        }
    }
}
