//! The figures of a page: plots, pictures, montages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::heat_map::HeatMap;
use crate::montage::Montage;
use crate::number::compact;
use crate::picture::{Picture, PictureError};
use crate::plot::Svg;
use crate::text::escaped;

/// A figure with its caption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    pub(super) body: String,
    pub(super) caption: String,
    /// Number of marked pixels, which the caption must mention.
    pub(super) not_finite: usize,
}

impl Figure {
    /// A plot.
    #[must_use]
    pub fn svg(svg: &Svg, caption: impl Into<String>) -> Self {
        Self { body: svg.to_inline(), caption: caption.into(), not_finite: 0 }
    }

    /// A picture; the caption is also its text alternative.
    ///
    /// # Errors
    /// Those of [`Picture::to_png`].
    pub fn png(picture: &Picture, caption: impl Into<String>) -> Result<Self, PictureError> {
        let caption = caption.into();
        let body = image_element(picture, &caption)?;
        Ok(Self { body, caption, not_finite: picture.not_finite() })
    }

    /// A montage as a table of pictures, with its color bar.
    ///
    /// # Errors
    /// Those of [`Picture::to_png`].
    pub fn montage(montage: &Montage, caption: impl Into<String>) -> Result<Self, PictureError> {
        let columns = montage.columns();
        let mut body = String::from(
            "<table class=\"montage\" role=\"table\">\n<thead role=\"rowgroup\"><tr role=\"row\">",
        );
        for name in columns {
            body.push_str(&format!("<th role=\"columnheader\" scope=\"col\">{}</th>", escaped(name)));
        }
        body.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
        for (label, pictures) in montage.rows() {
            if !label.is_empty() {
                let span = columns.len();
                body.push_str(&format!(
                    "<tr role=\"row\"><th role=\"rowheader\" scope=\"rowgroup\" colspan=\"{span}\">{}</th></tr>\n",
                    escaped(label)
                ));
            }
            body.push_str("<tr role=\"row\">");
            for (picture, column) in pictures.iter().zip(columns) {
                body.push_str(&format!(
                    "<td role=\"cell\" data-title=\"{}\">{}</td>",
                    escaped(column),
                    image_element(picture, &format!("{column}, {label}"))?
                ));
            }
            body.push_str("</tr>\n");
        }
        body.push_str("</tbody></table>\n");
        let figure = Self { body, caption: caption.into(), not_finite: montage.not_finite() };
        Ok(match montage.heat_map() {
            Some(heat_map) => figure.color_bar(heat_map),
            None => figure,
        })
    }

    /// Adds a legend of the colors below.
    #[must_use]
    pub fn color_bar(mut self, heat_map: &HeatMap) -> Self {
        let (low, high) = (heat_map.scale.low(), heat_map.scale.high());
        let colors: Vec<_> = (0..=16).map(|i| heat_map.color_map.color(f64::from(i) / 16.0).hex()).collect();
        let numbers =
            [low, low + (high - low) / 2.0, high].map(|value| format!("<span>{}</span>", compact(value)));
        self.body.push_str(&format!(
            "<div class=\"bar\"><div>{}</div><div class=\"colors\" style=\"background:linear-gradient(to right,{})\"></div>\
             <div class=\"numbers\">{}</div></div>\n",
            escaped(&heat_map.label),
            colors.join(","),
            numbers.concat(),
        ));
        self
    }
}

fn image_element(picture: &Picture, description: &str) -> Result<String, PictureError> {
    let (width, height) = (picture.width(), picture.height());
    // A small picture is shown with sharp pixels, a large one smoothly.
    let class = if width.max(height) <= 256 { " class=\"pixels\"" } else { "" };
    Ok(format!(
        "<img{class} width=\"{width}\" height=\"{height}\" alt=\"{}\" src=\"data:image/png;base64,{}\">",
        escaped(description),
        STANDARD.encode(picture.to_png()?),
    ))
}
