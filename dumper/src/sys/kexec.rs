//! kexec_file_load(2).
