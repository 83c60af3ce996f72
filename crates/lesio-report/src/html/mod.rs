//! A self-contained HTML page.

mod figure;
mod page;

pub use figure::Figure;
pub use page::HtmlReport;
