//! Which vector instructions are used, decided at run time.

use std::sync::OnceLock;

/// An instruction set that this processor has.
///
/// A value can only be had for instructions that are there, so kernels may rely on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa {
    level: Level,
    pairs: PairProducts,
}

/// How products of pairs of bfloat16 are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PairProducts {
    /// Pairs are taken apart.
    Apart,
    /// Those of 16 lanes are one instruction (AVX-512 BF16).
    Lanes,
    /// Those of a tile of columns and lanes are one instruction (AMX-BF16), and those of lanes too.
    Tiles,
}

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// No instructions beyond those the program was compiled for.
    pub const PORTABLE: Self = Self { level: Level::Portable, pairs: PairProducts::Apart };

    /// The fastest that this processor has.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().pop().unwrap_or(Self::PORTABLE))
    }

    /// All that this processor has, the fastest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "only x86-64 has more than one")]
        let mut all = vec![Self::PORTABLE];
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self { level: Level::Avx2, pairs: PairProducts::Apart });
                if ["avx512f", "avx512vl", "avx512dq", "avx512bw"].iter().all(|name| has(name)) {
                    all.push(Self { level: Level::Avx512, pairs: PairProducts::Apart });
                    if is_x86_feature_detected!("avx512bf16") {
                        all.push(Self { level: Level::Avx512, pairs: PairProducts::Lanes });
                        if super::amx_unit::are_granted() {
                            all.push(Self { level: Level::Avx512, pairs: PairProducts::Tiles });
                        }
                    }
                }
            }
        }
        all
    }

    pub(crate) fn level(self) -> Level {
        self.level
    }

    /// Whether this processor multiplies pairs of bfloat16 in one instruction; elsewhere they are taken apart.
    #[must_use]
    pub fn multiplies_pairs(self) -> bool {
        self.pairs != PairProducts::Apart
    }

    /// Whether this processor multiplies tiles of pairs.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn has_tiles(self) -> bool {
        self.pairs == PairProducts::Tiles
    }

    /// Whether products multiply and add with one rounding.
    pub(crate) fn fuses(self) -> bool {
        self.level != Level::Portable
    }

    /// `"portable"`, `"avx2"`, `"avx512"`, `"avx512-bf16"` or `"amx"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.level {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => match self.pairs {
                PairProducts::Apart => "avx512",
                PairProducts::Lanes => "avx512-bf16",
                PairProducts::Tiles => "amx",
            },
        }
    }
}

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn has(name: &str) -> bool {
    match name {
        "avx512f" => is_x86_feature_detected!("avx512f"),
        "avx512vl" => is_x86_feature_detected!("avx512vl"),
        "avx512dq" => is_x86_feature_detected!("avx512dq"),
        "avx512bw" => is_x86_feature_detected!("avx512bw"),
        _ => false,
    }
}

/// Defines a safe function whose body is compiled once for each instruction set and chosen by a first
/// argument of type [`Isa`]; loops over slices in it are vectorized by the compiler.
macro_rules! vectorized {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$attribute])*
        #[allow(unsafe_code, clippy::too_many_arguments)] // Reason at the calls below.
        $visibility fn $name(isa: $crate::raw::Isa, $($argument: $kind),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $kind),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $kind),*) $(-> $result)? { body($($argument),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512dq,avx512bw")]
            fn avx512($($argument: $kind),*) $(-> $result)? { body($($argument),*) }
            match isa.level() {
                $crate::raw::Level::Portable => body($($argument),*),
                // SAFETY: an `Isa` of this level exists only where the processor has the instructions.
                #[cfg(target_arch = "x86_64")]
                $crate::raw::Level::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::raw::Level::Avx512 => unsafe { avx512($($argument),*) },
            }
        }
    };
}
pub(crate) use vectorized;
