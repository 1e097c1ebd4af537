//! No unwinding and no backtraces in the static binary: it aborts at a panic, and its unwind tables are left out, so that there
//! would be nothing to read.
//!
//! std is built for both all the same: the hook that prints a panic asks for the frames and brings a reader of DWARF along to name
//! them, its personality routine asks for what a table says. That is 257 kB. With these answers of our own the linker finds that
//! nobody needs them. The functions are those of the Itanium C++ ABI (exception handling, level 1) and GCC's extensions of it, as
//! std of Rust 1.95 declares them; only `_Unwind_Backtrace` is ever called.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`.
const END_OF_STACK: c_int = 5;

/// Says that there are no frames, without calling `_each`.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_each: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Functions that answer with nothing.
macro_rules! nothing {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) -> $result {
            0
        }
    )*};
}

nothing! {
    _Unwind_FindEnclosingFunction(*mut c_void) -> usize;
    _Unwind_GetCFA(*mut c_void) -> usize;
    _Unwind_GetDataRelBase(*mut c_void) -> usize;
    _Unwind_GetIP(*mut c_void) -> usize;
    _Unwind_GetIPInfo(*mut c_void, *mut c_int) -> usize;
    _Unwind_GetLanguageSpecificData(*mut c_void) -> usize;
    _Unwind_GetRegionStart(*mut c_void) -> usize;
    _Unwind_GetTextRelBase(*mut c_void) -> usize;
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetGR(_context: *mut c_void, _register: c_int, _value: usize) {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetIP(_context: *mut c_void, _value: usize) {}

/// The end of a landing pad, where none is ever entered.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume(_exception: *mut c_void) -> ! {
    std::process::abort()
}
