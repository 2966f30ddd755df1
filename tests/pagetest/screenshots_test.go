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
	for _, catalog := range []string{"builtin", "custom", "hostile"} {
		for _, width := range []int64{1280, 390} {
			for _, dark := range []bool{false, true} {
				b := open(t, catalog, view{width: width, dark: dark})
				name := fmt.Sprintf("%s-%d-%s", catalog, width, map[bool]string{false: "light", true: "dark"}[dark])
				for _, section := range []string{"main-content", "error-object", "http-statuses", "error-types", "error-codes", "handling-errors", "rate-limits"} {
					b.visit("/docs/" + catalog + "#" + section)
					picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
					require.NoError(t, err)
					require.NoError(t, os.WriteFile(filepath.Join(*screenshots, name+"-"+section+".png"), picture, 0o666))
				}
			}
		}
	}
}
