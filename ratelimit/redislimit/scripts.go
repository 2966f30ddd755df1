package redislimit

import _ "embed" // for the scripts

var (
	//go:embed bucket.lua
	bucketLua string
	//go:embed take.lua
	takeLua string
	//go:embed adjust.lua
	adjustLua string
	//go:embed reset.lua
	resetLua string
)

// The scripts.
var (
	takeScript   = bucketLua + takeLua
	adjustScript = bucketLua + adjustLua
	resetScript  = resetLua
)
