//! A self-contained HTML page.

mod figure;
mod page;
mod table;

pub use figure::Figure;
pub use page::HtmlReport;
