//! NIfTI volumes, PNG, JPEG and TIFF images, and data set layouts, safe against any file.
