//! From a forge's webhook to the pull request's state.
