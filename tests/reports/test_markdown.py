from lepton_nb.reports.markdown import Markdown


def test_first_heading_is_the_title_and_the_rest_are_gathered(tmp_path):
    markdown = Markdown(tmp_path)
    assert "<h1" not in markdown.render("# The *title*\n\ntext")
    html = markdown.render("## Data & more\n\n## Data & more\n\n```\n# no heading\n```")
    assert markdown.title == "The title"
    assert [(heading.level, heading.text) for heading in markdown.headings] == [(2, "Data & more")] * 2
    anchors = [heading.anchor for heading in markdown.headings]
    assert len(set(anchors)) == 2
    assert all(f'id="{anchor}"' in html for anchor in anchors)


def test_only_the_first_heading_can_be_the_title(tmp_path):
    markdown = Markdown(tmp_path)
    markdown.render("## Before")
    assert '<h1 id="after">After</h1>' in markdown.render("# After")
    assert markdown.title == ""


def test_no_heading_takes_an_anchor_of_the_page(tmp_path):
    markdown = Markdown(tmp_path)
    html = markdown.render("## Content\n\n## Failed cell\n\n## Content 2")
    assert [heading.anchor for heading in markdown.headings] == ["content-2", "failed-cell-2", "content-2-2"]
    assert 'id="content"' not in html


def test_images_elsewhere_become_links_and_attachments_are_embedded(tmp_path):
    markdown = Markdown(tmp_path)
    assert '<a href="https://example.org/a.png">plane</a>' in markdown.render("![plane](https://example.org/a.png)")
    attached = markdown.render("![p](attachment:a.png)", {"a.png": {"image/png": "AA=="}})
    assert 'src="data:image/png;base64,AA=="' in attached
    assert "[p]" in markdown.render("![p](attachment:missing.png)")


def test_tables_have_a_box_of_their_own(tmp_path):
    html = Markdown(tmp_path).render("| a | b |\n|---|--:|\n| 1 | 2 |")
    assert html.startswith('<div class="table"><table>\n<thead>')
    assert html.endswith("</tbody>\n</table></div>\n")


def test_mermaid_is_shown_as_text(tmp_path):
    html = Markdown(tmp_path).render("```mermaid\ngraph TD; A-->B\n```")
    assert "graph TD; A--&gt;B" in html
