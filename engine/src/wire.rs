//! Numbers and texts as bytes, for what goes from one process to another. Reading is total: what comes may be anything.

/// Why bytes cannot be read.
pub(crate) type Wrong = &'static str;

/// Writes.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    /// Seven bits a byte, the lowest first.
    pub(crate) fn number(&mut self, number: u64) {
        self.wide(u128::from(number));
    }

    pub(crate) fn wide(&mut self, mut number: u128) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }
}

/// Reads what a [`Writer`] wrote.
pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl Reader<'_> {
    pub(crate) fn number(&mut self) -> Result<u64, Wrong> {
        u64::try_from(self.wide()?).map_err(|_| "a number that is too large")
    }

    pub(crate) fn wide(&mut self) -> Result<u128, Wrong> {
        let mut number = 0_u128;
        for shift in (0..126).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or("it ends in a number")?;
            self.0 = rest;
            number |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number that is too large")
    }

    pub(crate) fn small(&mut self) -> Result<u32, Wrong> {
        u32::try_from(self.number()?).map_err(|_| "a number that is too large")
    }

    /// How many of something follow, each of a byte or more: no more than there are bytes.
    pub(crate) fn count(&mut self) -> Result<usize, Wrong> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count > self.0.len() {
            return Err("it ends before it is whole");
        }
        Ok(count)
    }

    /// A place in a list of so many.
    pub(crate) fn place(&mut self, count: usize) -> Result<usize, Wrong> {
        let place = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        (place < count)
            .then_some(place)
            .ok_or("it is of another plan: there is no such part of this one")
    }

    pub(crate) fn text(&mut self) -> Result<&str, Wrong> {
        let len = self.count()?;
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| "a text that is no UTF-8")
    }

    pub(crate) fn end(&self) -> Result<(), Wrong> {
        self.0
            .is_empty()
            .then_some(())
            .ok_or("something comes after its end")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let numbers = [
            0,
            1,
            127,
            128,
            300,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ];
        let mut writer = Writer::default();
        for number in numbers {
            writer.number(number);
        }
        writer.wide(1 << 100);
        writer.text("é");
        let mut reader = Reader(&writer.0);
        for number in numbers {
            assert_eq!(reader.number(), Ok(number));
        }
        assert_eq!(reader.wide(), Ok(1 << 100));
        assert_eq!(reader.text(), Ok("é"));
        assert_eq!(reader.end(), Ok(()));
        assert!(reader.number().is_err());
        assert!(Reader(&[0xff; 40]).wide().is_err());
        assert!(Reader(&[9, 1]).text().is_err());
        assert!(Reader(&[1, 0xff]).text().is_err());
    }
}
