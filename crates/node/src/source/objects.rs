//! Reads many files of a repository, raw: no filter, no conversion.

use super::repository::Repository;
use super::sha::Sha;
use crate::Error;

/// Takes the index of an object, its length and a chunk of its contents.
pub(super) type UseBlob<'a> = &'a mut dyn FnMut(usize, u64, &[u8]) -> Result<(), Error>;

/// Calls `use_chunk(index, length of the object, chunk)` for the contents of all `shas`, in their order. An empty object is
/// one call with an empty chunk.
pub(super) fn read_blobs(
    repository: &Repository,
    shas: &[&Sha],
    use_chunk: UseBlob<'_>,
) -> Result<(), Error> {
    let ids = shas.iter().map(|sha| sha.id()).collect::<Result<Vec<_>, _>>()?;
    repository.objects().blobs(&ids, use_chunk)
}
