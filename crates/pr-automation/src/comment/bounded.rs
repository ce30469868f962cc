//! A text that grows by whole pieces and never over its limit.

/// The text and its limit in bytes.
pub(super) struct Bounded {
    text: String,
    limit: usize,
}

impl Bounded {
    pub(super) fn new(limit: usize) -> Self {
        Self { text: String::new(), limit }
    }

    /// Adds a piece that fits by construction; one that would not is left out whole.
    pub(super) fn push(&mut self, piece: &str) {
        self.push_within(piece, self.limit);
    }

    /// Adds a piece if the text then has at most `limit` bytes, and says whether it did.
    pub(super) fn push_within(&mut self, piece: &str, limit: usize) -> bool {
        let fits = self.text.len() + piece.len() <= limit.min(self.limit);
        if fits {
            self.text.push_str(piece);
        }
        fits
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}
