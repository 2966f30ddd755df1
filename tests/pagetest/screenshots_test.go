package pagetest_test

import (
	"bytes"
	"flag"
	"fmt"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

var screenshots = flag.String("screenshots", "", "the folder for pictures of the pages, for people to look at")

// With -screenshots, there is a picture of each section of two catalogs. Without it, there is one
// of the top and one of a search.
func TestScreenshotsHaveTheColorsOfTheScheme(t *testing.T) {
	t.Parallel()
	folder, catalogs := *screenshots, []string{"custom", "hostile"}
	var sections []string
	if folder == "" {
		folder, catalogs = t.TempDir(), catalogs[:1]
	} else {
		sections = []string{"error-object", "http-statuses", "error-types", "error-codes", "card_declined", "hostile_g", "handling-errors", "rate-limits"}
	}
	require.NoError(t, os.MkdirAll(folder, 0o777))
	for _, width := range []int64{1280, 390} {
		for scheme, dark := range map[string]bool{"light": false, "dark": true} {
			for _, catalog := range catalogs {
				b := open(t, catalog, view{width: width, dark: dark})
				save := func(name string) {
					file := filepath.Join(folder, fmt.Sprintf("%s-%d-%s-%s.png", catalog, width, scheme, name))
					checkPicture(t, capture(b, file), int(width), dark)
				}
				save("0")
				for i, section := range sections {
					if eval[bool](b, `document.getElementById("`+section+`") !== null`) {
						b.visit("/docs/" + catalog + "#" + section)
						save(fmt.Sprint(i+1, "-", section))
					}
				}
				b.press("/503")
				save("search")
				b.press("x")
				save("search-none")
			}
		}
		capture(open(t, "custom", view{width: width, noScript: true}), filepath.Join(folder, fmt.Sprintf("custom-%d-noscript.png", width)))
	}
	b := open(t, "custom", view{width: 794, print: true, dark: true})
	checkPicture(t, capture(b, filepath.Join(folder, "custom-print.png")), 794, false)
	b.visit("/docs/custom#card_declined")
	capture(b, filepath.Join(folder, "custom-print-codes.png"))
}

// capture writes a picture of what the tab shows to a file, and returns it.
func capture(b *tab, file string) []byte {
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(file, picture, 0o666))
	return picture
}

// checkPicture checks the width of a picture, and whether its background is dark.
func checkPicture(t *testing.T, picture []byte, width int, dark bool) {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	require.NoError(t, err)
	bounds := img.Bounds()
	require.Equal(t, width, bounds.Dx())
	corner := color.GrayModel.Convert(img.At(bounds.Max.X-2, bounds.Min.Y+1)).(color.Gray).Y
	require.Equal(t, dark, corner < 128, "the background's brightness is %d of 255", corner)
}
