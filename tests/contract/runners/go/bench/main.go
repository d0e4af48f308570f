// Calls of one script again and again: bench LUA STEPS URL, STEPS being an array of calls as in the vectors. Reads
// "0 1000" (the first of them) or "bare 1000", and says "done" when as many have been made, one after the other.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	var steps []struct {
		Script string
		Keys   []string
		Args   []any
	}
	must(json.Unmarshal([]byte(os.Args[2]), &steps))
	var manifest struct {
		Scripts map[string]struct{ File string }
	}
	data, err := os.ReadFile(filepath.Join(os.Args[1], "manifest.json"))
	must(err)
	must(json.Unmarshal(data, &manifest))
	code, err := os.ReadFile(filepath.Join(os.Args[1], manifest.Scripts[steps[0].Script].File))
	must(err)
	options, err := redis.ParseURL(os.Args[3])
	must(err)

	ctx, client := context.Background(), redis.NewClient(options)
	digest, bare := client.ScriptLoad(ctx, string(code)).Val(), client.ScriptLoad(ctx, "return 1").Val()
	works := map[string]func() bool{}
	for i, step := range steps {
		step := step
		works[strconv.Itoa(i)] = func() bool {
			line, err := client.EvalSha(ctx, digest, step.Keys, step.Args...).Text()
			must(err)
			numbers := make([]int64, 0, 1+3*len(step.Keys))
			for _, word := range strings.Fields(line) {
				number, err := strconv.ParseInt(word, 10, 64)
				must(err)
				numbers = append(numbers, number)
			}
			return numbers[1] == 0
		}
	}
	works["bare"] = func() bool {
		one, err := client.EvalSha(ctx, bare, steps[0].Keys, steps[0].Args...).Int()
		must(err)
		return one == 1
	}
	var what string
	var count int
	for {
		if _, err := fmt.Scan(&what, &count); err != nil {
			return
		}
		for at := 0; at < count; at++ {
			if !works[what]() {
				panic("refused")
			}
		}
		fmt.Println("done")
	}
}
