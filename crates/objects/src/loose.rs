//! Writing an object into a file of its own, as git does it.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::{Error, Format, Kind, ObjectId, name_of};

/// The most bytes of one stored block.
const BLOCK: usize = 0xffff;
const ADLER: u32 = 65_521;

/// Writes an object below the folder `objects` of a repository, unless it is there in a file of its own already; its name.
///
/// It has its name when all of it is written. Like git, it does not wait for the disk: whoever refers to it after the power
/// failed has to find out whether it is there.
///
/// # Errors
/// If the disk refuses.
pub fn write_loose(
    objects: &Path,
    format: Format,
    kind: Kind,
    contents: &[u8],
) -> Result<ObjectId, Error> {
    let id = name_of(format, kind, contents);
    let digits = id.to_string();
    let (folder, name) = digits.split_at(2);
    let folder = objects.join(folder);
    let target = folder.join(name);
    if target.is_file() {
        return Ok(id);
    }
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::io("create", &folder)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let failed = |error| Error::io("write", &target)(error);
    let mut file = tempfile::Builder::new()
        .prefix("tmp_obj_")
        .permissions(fs::Permissions::from_mode(0o444))
        .tempfile_in(&folder)
        .map_err(failed)?;
    let mut raw = format!("{kind} {}\0", contents.len()).into_bytes();
    raw.extend_from_slice(contents);
    file.write_all(&stored(&raw)).map_err(failed)?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    Ok(id)
}

/// The bytes as a zlib stream (RFC 1950) of stored blocks: these objects are small, and read once or twice.
fn stored(raw: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = raw.chunks(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        // A block is at most 65535 bytes long.
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&adler32(raw).to_be_bytes());
    stream
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut one, mut two) = (1_u32, 0_u32);
    // The most bytes after which neither sum is over 32 bits.
    for part in bytes.chunks(5552) {
        for byte in part {
            one += u32::from(*byte);
            two += one;
        }
        one %= ADLER;
        two %= ADLER;
    }
    two << 16 | one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(adler32(b""), 1);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler32(&[255; 1_000_000]), 0x3843_e1be);
    }
}
