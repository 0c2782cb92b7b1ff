package router

import "perch/shared/lean"

// Shape says what the JSON of an answer holds whose URLs are Replicate's.
type Shape uint8

// The shapes.
const (
	ShapeNone        Shape = iota
	ShapePrediction        // a prediction or a training
	ShapePredictions       // a page of those
	ShapePage              // a page of something else
)

// operation is one of Replicate's API whose answer has a shape. A * stands for
// one segment.
type operation struct {
	method, path string
	shape        Shape
}

var operations = [...]operation{
	{"POST", "/predictions", ShapePrediction},
	{"POST", "/models/*/*/predictions", ShapePrediction},
	{"POST", "/deployments/*/*/predictions", ShapePrediction},
	{"GET", "/predictions/*", ShapePrediction},
	{"POST", "/predictions/*/cancel", ShapePrediction},
	{"POST", "/models/*/*/versions/*/trainings", ShapePrediction},
	{"GET", "/trainings/*", ShapePrediction},
	{"POST", "/trainings/*/cancel", ShapePrediction},
	{"GET", "/predictions", ShapePredictions},
	{"GET", "/trainings", ShapePredictions},
	{"GET", "/models/*/*/examples", ShapePredictions},
	{"GET", "/models/*/*/versions", ShapePage},
	{"GET", "/models", ShapePage},
	{"QUERY", "/models", ShapePage},
	{"GET", "/collections", ShapePage},
	{"GET", "/deployments", ShapePage},
	{"GET", "/files", ShapePage},
}

// shapeOf returns the shape of a good answer. path stands below /v1.
func shapeOf(method, path string) Shape {
	for i := range operations {
		if o := &operations[i]; o.method == method && matches(path, o.path) {
			return o.shape
		}
	}
	return ShapeNone
}

// matches compares a path with a pattern.
func matches(path, pattern string) bool {
	for pattern != "" {
		n := 1
		if pattern[0] == '*' {
			n = lean.IndexByte(path, '/')
			if n < 0 {
				n = len(path)
			}
		} else if path == "" || path[0] != pattern[0] {
			return false
		}
		if n == 0 {
			return false
		}
		path, pattern = path[n:], pattern[1:]
	}
	return path == ""
}
