//! Server-sent events: the part of the format that servers of ours use, bounded.

use sandgate_domain::ErrorCode;

use crate::failure::Failure;

/// The largest event, in bytes.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its id; empty if it has none.
    pub id: String,
    /// Its data.
    pub data: String,
}

/// Puts events together from the pieces in which they come.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
}

impl Parser {
    /// The events that are complete with this piece.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Event>, Failure> {
        let mut complete = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.event.data.len() > MAX_EVENT_BYTES {
                let message = format!("the server sent an event over {MAX_EVENT_BYTES} bytes");
                return Err(Failure::new(ErrorCode::ResourceExhausted, message));
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let text = String::from_utf8_lossy(&line);
                complete.extend(self.take_line(text.trim_end_matches(['\n', '\r'])));
            }
        }
        Ok(complete)
    }

    fn take_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => value.clone_into(&mut self.event.id),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            // Comments keep the connection alive; other fields are none of ours.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, id: &str, data: &str) -> Event {
        Event { name: name.to_owned(), id: id.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_the_same_in_whatever_pieces_they_come() {
        let text = ": hello\n\nevent: log\nid: 12\ndata: {\"text\":\"ä: b\"}\n\n\
                    data: one\r\ndata:two\r\nretry: 5\r\n\r\nevent: end\ndata: {}\n\nevent: cut";
        let expected = vec![
            event("log", "12", "{\"text\":\"ä: b\"}"),
            event("", "", "one\ntwo"),
            event("end", "", "{}"),
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let pieces = text.as_bytes().chunks(size);
            let found: Vec<Event> = pieces.flat_map(|piece| parser.push(piece).unwrap()).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_given_up() {
        let filler = "x".repeat(1 << 20);
        for piece in [filler.clone(), format!("data: {filler}\n")] {
            let mut parser = Parser::default();
            assert!((0..20).any(|_| parser.push(piece.as_bytes()).is_err()));
        }
    }
}
