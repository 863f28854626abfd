//! Choices that have a name in the settings.

/// A choice out of a few, each with its name in the settings.
pub(crate) trait Named: Copy + 'static {
    /// All of them, in the order of the documentation.
    const CHOICES: &'static [Self];

    /// The name in the settings.
    fn text(self) -> &'static str;

    /// The one of this name, in whatever case.
    fn named(text: &str) -> Option<Self> {
        Self::CHOICES.iter().copied().find(|known| known.text().eq_ignore_ascii_case(text.trim()))
    }

    /// The names, for an error: "`a`, `b` or `c`".
    fn names() -> String {
        let names: Vec<_> = Self::CHOICES.iter().map(|known| format!("`{}`", known.text())).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }
}

/// Declares an enum of [`Named`] choices; each displays as its name and is parsed from it.
macro_rules! named {
    ($(#[$meta:meta])* pub enum $type:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $name:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $type {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the settings.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl $crate::types::named::Named for $type {
            const CHOICES: &'static [Self] = Self::ALL;

            fn text(self) -> &'static str {
                self.name()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::types::error::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                use $crate::types::named::Named;
                Self::named(text).ok_or_else(|| {
                    let shown: String = text.chars().take(80).collect();
                    let message = format!("`{shown}` is not known: expected {}", Self::names());
                    Self::Err::new($crate::types::error::ErrorKind::Configuration, message)
                })
            }
        }
    };
}
pub(crate) use named;
