package pagetest_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

var screenshots = flag.String("screenshots", "", "the folder for pictures of the pages, as they are on a screen and on a phone")

func TestScreenshots(t *testing.T) {
	t.Parallel()
	if *screenshots == "" {
		t.Skip("there is no -screenshots=FOLDER")
	}
	require.NoError(t, os.MkdirAll(*screenshots, 0o777))
	save := func(b *tab, name string) {
		picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(*screenshots, name+".png"), picture, 0o666))
	}
	for _, width := range []int64{1280, 390} {
		for scheme, dark := range map[string]bool{"light": false, "dark": true} {
			for _, catalog := range []string{"custom", "hostile"} {
				b := open(t, catalog, view{width: width, dark: dark})
				name := fmt.Sprintf("%s-%d-%s", catalog, width, scheme)
				save(b, name+"-0")
				for i, section := range []string{"error-object", "http-statuses", "error-types", "error-codes", "card_declined", "hostile_g", "handling-errors", "rate-limits"} {
					if eval[bool](b, `document.getElementById("`+section+`") !== null`) {
						b.visit("/docs/" + catalog + "#" + section)
						save(b, fmt.Sprint(name, "-", i+1, "-", section))
					}
				}
				b.press("/503")
				save(b, name+"-search")
				b.press("x")
				save(b, name+"-search-none")
			}
		}
		save(open(t, "custom", view{width: width, noScript: true}), fmt.Sprintf("custom-%d-noscript", width))
	}
	b := open(t, "custom", view{width: 794, print: true, dark: true})
	save(b, "custom-print")
	b.visit("/docs/custom#card_declined")
	save(b, "custom-print-codes")
}
