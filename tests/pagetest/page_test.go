package pagetest_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

func TestPageHasTitleLanguageHeadingsAndLandmarks(t *testing.T) {
	t.Parallel()
	for _, catalog := range catalogs {
		t.Run(catalog, func(t *testing.T) {
			t.Parallel()
			b := open(t, catalog, view{})
			require.Equal(t, "en", eval[string](b, `document.documentElement.lang`))
			require.NotEmpty(t, eval[string](b, `document.title`))
			require.Equal(t, eval[string](b, `document.title`), eval[string](b, `document.querySelector("h1").innerText`))

			levels := eval[[]int](b, `[...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((h) => Number(h.tagName[1]))`)
			require.Equal(t, 1, levels[0])
			for i, level := range levels[1:] {
				require.Greater(t, level, 1, "there is a second h1")
				require.LessOrEqual(t, level, levels[i]+1, "a level is skipped")
			}
			require.True(t, eval[bool](b, `[...document.querySelectorAll("h1, h2, h3, p:not([role], [hidden])")].every((e) => e.textContent.trim())`), "something is empty")

			require.Equal(t, 1, eval[int](b, `document.querySelectorAll("main").length`))
			require.Equal(t, 1, eval[int](b, `document.querySelectorAll("nav[aria-label]").length`))
			require.Equal(t, 1, eval[int](b, `document.querySelectorAll("[role=search]").length`))
			require.Equal(t, b.shown(), eval[[]string](b, `[...document.querySelectorAll("nav ul ul a")].map((a) => a.hash.slice(1))`))
		})
	}
}

func TestSearchShowsCodesThatMatch(t *testing.T) {
	t.Parallel()
	b := open(t, "custom", view{})
	all := b.shown()
	for _, row := range []struct {
		search string
		codes  []string
	}{
		{"card", []string{"card_declined"}},
		{"CARD_Declined", []string{"card_declined"}},
		{"503", []string{"service_unavailable", "ledger_locked"}},
		{"permission_error", []string{"permission_denied", "account_frozen"}},
		{"  429   idempotency ", []string{"idempotency_in_progress"}},
		{"refused the payment", []string{"card_declined"}}, // a description
		{"another card", []string{"card_declined"}},        // a resolution
		{"quota is used up", []string{"daily_quota"}},      // a message
		{"ça finit", []string{"ledger_locked"}},
		{"402 request_id", []string{}}, // the examples do not count
		{"nothing has this", []string{}},
		{"\\", []string{}},
		{" ", all},
	} {
		b.press("/" + row.search)
		b.becomes(`document.querySelector("input").value === ` + quote(row.search))
		require.Equal(t, row.codes, b.shown(), row.search)
		require.Equal(t, row.codes, eval[[]string](b, `[...document.querySelectorAll("nav ul ul a")].filter((a) => a.checkVisibility()).map((a) => a.hash.slice(1))`), row.search)
		require.Equal(t, len(row.codes) == 0, eval[bool](b, `document.querySelector(".none").checkVisibility()`), row.search)
		searching := row.search != " "
		require.Equal(t, searching, eval[bool](b, `/^\d+ of \d+ codes$/.test(document.querySelector("[role=status]").textContent)`), row.search)
		require.Equal(t, searching, eval[bool](b, `parseInt(document.querySelector("[role=status]").textContent) === `+quote(len(row.codes))), row.search)
		require.Equal(t, !searching, eval[bool](b, `document.querySelector("#error-object").checkVisibility()`), row.search)
		if len(row.codes) == 1 {
			require.True(t, eval[bool](b, `(r => r.top >= 0 && r.top < innerHeight)(document.getElementById(`+quote(row.codes[0])+`).getBoundingClientRect())`), "%s is out of sight", row.codes[0])
		}
		b.press(kb.Escape)
		b.becomes(`document.querySelector("input").value === ""`)
		require.Equal(t, all, b.shown())
		require.Empty(t, eval[string](b, `document.querySelector("[role=status]").textContent`))
		require.True(t, eval[bool](b, `document.activeElement === document.querySelector("input")`))
		eval[any](b, `document.activeElement.blur()`)
	}
}

func TestEnterGoesToTheFirstCodeThatMatches(t *testing.T) {
	t.Parallel()
	for _, width := range []int64{1280, 390} {
		b := open(t, "custom", view{width: width})
		b.press("/\r")
		require.Empty(t, eval[string](b, `location.hash`), "there is no search")
		b.press("nothing has this\r")
		require.Empty(t, eval[string](b, `location.hash`), "nothing matches")
		b.press(kb.Escape + "503\r")
		b.becomes(`location.hash === "#service_unavailable"`)
		require.Equal(t, []string{"service_unavailable", "ledger_locked"}, b.shown(), "the search goes on")
		b.press(kb.Tab)
		require.Equal(t, "service_unavailable", eval[string](b, `document.activeElement.closest(".entry").id`))
	}
}

func TestSearchInACatalogWithoutCodesFindsNone(t *testing.T) {
	t.Parallel()
	b := open(t, "empty", view{})
	none := `document.querySelector(".none").checkVisibility()`
	require.False(t, eval[bool](b, none))
	b.press("/a")
	b.becomes(none)
	require.Equal(t, "0 of 0 codes", eval[string](b, `document.querySelector("[role=status]").textContent`))
	b.press(kb.Escape)
	b.becomes(`!(` + none + `)`)
}

func TestLinkToHiddenCodeShowsItAgain(t *testing.T) {
	t.Parallel()
	b := open(t, "builtin", view{})
	all := b.shown()
	atTop := func(code string) {
		t.Helper()
		b.becomes(`document.getElementById(` + quote(code) + `).checkVisibility()`)
		b.becomes(`Math.abs(document.getElementById(` + quote(code) + `).getBoundingClientRect().top) < 100`)
		require.Equal(t, all, b.shown())
	}
	hide := func() {
		b.press("/parameter_missing")
		b.becomes(`document.querySelectorAll(".entry[hidden]").length === 15`)
	}

	hide()
	eval[any](b, `location.hash = "#timeout"`)
	atTop("timeout")
	hide()
	eval[any](b, `location.hash = "#permission%5Fdenied"`) // as other programs may write it
	atTop("permission_denied")

	hide()
	eval[any](b, `document.querySelector(".codes a[href='#api_error']").click()`)
	atTop("api_error")
	hide()
	eval[any](b, `document.querySelector(".codes a[href='#api_error']").click()`) // the fragment stays the same
	atTop("api_error")

	hide()
	eval[any](b, `history.back()`)
	atTop("permission_denied")

	hide()
	eval[any](b, `document.querySelector("nav a[href='#parameter_missing']").click()`)
	require.Equal(t, []string{"parameter_missing"}, b.shown(), "a link to what the search has found ends the search")
}

func TestEachCodeHasItsAnchor(t *testing.T) {
	t.Parallel()
	for _, width := range []int64{1280, 390} {
		b := open(t, "custom", view{width: width})
		for _, code := range b.shown() {
			eval[any](b, `document.querySelector("#`+code+` h3 a").click()`)
			b.becomes(`location.hash === "#` + code + `" && document.querySelector(":target").id === "` + code + `"`)
			b.becomes(`(r => r.top >= 0 && r.bottom <= innerHeight)(document.querySelector("#` + code + ` h3").getBoundingClientRect())`)
			require.True(t, eval[bool](b, `(r => document.elementFromPoint(r.left + 1, r.top + 1).closest("h3") !== null)(document.querySelector("#`+code+` h3 a").getBoundingClientRect())`), "something covers %s", code)
		}
	}
}

func TestKeyboardReachesEverythingInOrderAndVisibly(t *testing.T) {
	t.Parallel()
	for _, width := range []int64{1280, 390} {
		b := open(t, "builtin", view{width: width})
		b.press(kb.Tab)
		require.Equal(t, "Skip to content", eval[string](b, `document.activeElement.textContent`))
		eval[any](b, `window.last = document.activeElement; window.stops = 0`)
		want := eval[int](b, `[...document.querySelectorAll("a, button, input, pre[tabindex]")].filter((e) => e.checkVisibility()).length`)
		for range want - 1 {
			b.press(kb.Tab)
			require.Empty(t, eval[string](b, `(() => {
				const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
				const after = last.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING;
				last = e;
				if (!after) return "out of order: " + e.outerHTML;
				if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) return "no visible focus: " + e.outerHTML;
				if (box.bottom <= 0 || box.top >= innerHeight || box.width === 0) return "out of sight: " + e.outerHTML;
				return "";
			})()`))
		}
		require.True(t, eval[bool](b, `last === [...document.querySelectorAll("a, button, input, pre[tabindex]")].at(-1)`))
	}
}

func TestSkipLinkSkipsContents(t *testing.T) {
	t.Parallel()
	b := open(t, "builtin", view{})
	b.press(kb.Tab)
	require.True(t, eval[bool](b, `(r => r.left >= 0 && r.top >= 0)(document.activeElement.getBoundingClientRect())`), "the link is not visible")
	b.press(kb.Enter)
	b.becomes(`document.activeElement.tagName === "MAIN"`)
	b.press(kb.Tab)
	require.True(t, eval[bool](b, `document.activeElement.closest("main") !== null`))
}

// The subtests share the clipboard, so they are not parallel.
func TestCopyButtonCopiesByKeyboard(t *testing.T) {
	t.Parallel()
	for _, permission := range []string{"clipboard-read", "clipboard-write"} {
		_, err := chromedp.CallBrowser(chromium, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: permission}, Setting: browser.PermissionSettingGranted, Origin: server.URL,
		})
		require.NoError(t, err)
	}
	for name, before := range map[string]string{
		"clipboard":    ``,
		"no clipboard": `navigator.clipboard.writeText = undefined`, // as without HTTPS
	} {
		b := open(t, "builtin", view{})
		eval[any](b, before)
		eval[any](b, `window.setTimeout = (f) => { window.later = f }`) // so that the test is not too late
		for _, figure := range []string{"#timeout figure", "#handling-errors figure"} {
			eval[any](b, `document.querySelector("`+figure+` button").focus()`)
			b.press(kb.Enter)
			b.becomes(`document.querySelector("` + figure + ` button").textContent === "Copied"`)
			require.Equal(t, eval[string](b, `document.querySelector("`+figure+` code").textContent.trim()`), eval[string](b, `navigator.clipboard.readText().then((text) => text.trim())`), "%s, %s", name, figure)
			require.True(t, eval[bool](b, `document.activeElement === document.querySelector("`+figure+` button")`), "the button keeps the focus")
			require.Equal(t, "Copy", eval[string](b, `later(), document.querySelector("`+figure+` button").textContent`))
		}
	}
}

func TestPageWorksWithoutJavaScript(t *testing.T) {
	t.Parallel()
	for _, width := range []int64{1280, 390} {
		b := open(t, "custom", view{width: width, noScript: true})
		require.Len(t, b.shown(), 21)
		require.False(t, eval[bool](b, `document.querySelector("[role=search]").checkVisibility()`))
		require.Zero(t, eval[int](b, `document.querySelectorAll("button").length`))
		require.True(t, eval[bool](b, `document.querySelector(".formats a").checkVisibility() && document.querySelector("nav").checkVisibility()`))
		b.visit("/docs/custom#class")
		b.becomes(`document.querySelector(":target h3").getBoundingClientRect().top < innerHeight`)
	}
}

func TestPageFitsOnPhones(t *testing.T) {
	t.Parallel()
	for _, catalog := range catalogs {
		b := open(t, catalog, view{})
		for _, width := range []int64{1280, 800, 390, 320} {
			b.resize(width)
			require.LessOrEqual(t, eval[int](b, `document.documentElement.scrollWidth`), int(width), "%s, %d pixels", catalog, width)
			require.LessOrEqual(t, eval[int](b, `Math.max(...[...document.querySelectorAll("main *")].filter((e) => !e.closest("pre")).map((e) => e.getBoundingClientRect().right))`), int(width), "%s, %d pixels", catalog, width)
			require.True(t, eval[bool](b, `[...document.querySelectorAll("pre")].every((e) => e.scrollWidth <= e.clientWidth || e.tabIndex === 0)`), "code scrolls, but not with the keyboard")
		}
	}
}

func TestPrintHasNoControlsAndNoDarkColors(t *testing.T) {
	t.Parallel()
	b := open(t, "custom", view{print: true, dark: true})
	require.Zero(t, eval[int](b, `[...document.querySelectorAll("nav, [role=search], .skip, button")].filter((e) => e.checkVisibility()).length`))
	require.Equal(t, "rgb(255, 255, 255)", eval[string](b, `getComputedStyle(document.body).backgroundColor`))
	require.Equal(t, "light", eval[string](b, `getComputedStyle(document.documentElement).colorScheme`))
	require.True(t, eval[bool](b, `[...document.querySelectorAll("pre")].every((e) => getComputedStyle(e).whiteSpaceCollapse === "preserve" && getComputedStyle(e).textWrapMode === "wrap")`), "code does not wrap")
	require.True(t, eval[bool](b, `[...document.querySelectorAll(".entry, figure, tr")].every((e) => getComputedStyle(e).breakInside === "avoid")`), "entries may be torn apart")
	require.Len(t, b.shown(), 21)
}

func TestNothingMoves(t *testing.T) {
	t.Parallel()
	b := open(t, "builtin", view{})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}})
	require.True(t, eval[bool](b, `[...document.querySelectorAll("*")].every((e) => {
		const style = getComputedStyle(e);
		return style.transitionDuration === "0s" && style.animationName === "none" && style.scrollBehavior === "auto";
	})`))
}

func TestHostileTextsAreOnlyText(t *testing.T) {
	t.Parallel()
	b := open(t, "hostile", view{})
	require.Equal(t, 1, eval[int](b, `document.scripts.length`))
	require.Equal(t, []string{}, eval[[]string](b, `[...document.querySelectorAll("*")].flatMap((e) => e.getAttributeNames()).filter((name) => name.startsWith("on") || name === "style" || name === "src")`))
	require.Equal(t, []string{"A", "ARTICLE", "B", "BODY", "BUTTON", "CODE", "DIV", "FIGCAPTION", "FIGURE", "H1", "H2", "H3", "HEAD", "HTML", "INPUT", "KBD",
		"LI", "LINK", "MAIN", "META", "NAV", "P", "PRE", "SCRIPT", "SECTION", "SPAN", "STRONG", "STYLE", "TABLE", "TBODY", "TD", "TH", "THEAD", "TITLE", "TR", "UL"},
		eval[[]string](b, `[...new Set([...document.querySelectorAll("*")].map((e) => e.tagName))].sort()`))
	require.True(t, eval[bool](b, `document.title.startsWith("</script><script>alert(1)</script><img src=x onerror=alert(1)>first second")`))

	b.press("/<img src=x onerror=alert(1)>")
	b.becomes(`document.querySelector("[role=status]").textContent.startsWith("1 of")`)
	require.Equal(t, []string{"hostile_a"}, b.shown())
}

func TestPolicyStopsInjectedScripts(t *testing.T) {
	t.Parallel()
	saved := filepath.Join(t.TempDir(), "errors.html")
	html, err := reference.New(apierror.DefaultCatalog(), nil).Render(reference.FormatHTML)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(saved, html, 0o666))
	for _, url := range []string{server.URL + "/docs/builtin", "file://" + saved} {
		b := open(t, "builtin", view{})
		b.allowed = append(b.allowed, url)
		require.NoError(t, chromedp.Do(b.ctx, chromedp.Navigate(url)))
		require.Equal(t, url[:4] == "http", eval[bool](b, `document.querySelector(".formats").checkVisibility()`))
		b.press("/timeout")
		b.becomes(`document.querySelector("[role=status]").textContent === "1 of 16 codes"`)
		require.Empty(t, b.takeProblems())

		b.refuses = true
		eval[any](b, `document.body.append(Object.assign(document.createElement("script"), { textContent: "window.injected = true" }))`)
		eval[any](b, `document.body.setAttribute("onclick", "window.injected = true"); document.body.click()`)
		require.False(t, eval[bool](b, `"injected" in window`), url)
		require.Eventually(t, func() bool { return len(b.takeProblems()) > 0 }, 10*time.Second, 10*time.Millisecond, "the browser reports nothing")
	}
}
