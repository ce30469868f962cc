//! Enums that are stored and shown under stable names: one table gives both directions.

/// A text that is not one of the names of a kind of thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {thing} ({names})")]
pub struct ParseNameError {
    /// What was wanted, such as `layer kind`.
    pub thing: &'static str,
    /// The names that are known, separated by commas.
    pub names: String,
    /// What was given, shortened to 80 characters.
    pub text: String,
}

/// Gives an enum without data its stable names: `ALL`, `as_str`, `Display`, `FromStr`.
macro_rules! named_enum {
    ($name:ident, $thing:literal, $($variant:ident => $text:literal),+ $(,)?) => {
        impl $name {
            /// All of them, for tables.
            pub const ALL: &'static [$name] = &[$(Self::$variant),+];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::name::ParseNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or_else(|| {
                    $crate::name::ParseNameError {
                        thing: $thing,
                        names: [$($text),+].join(", "),
                        text: text.chars().take(80).collect(),
                    }
                })
            }
        }
    };
}

pub(crate) use named_enum;
