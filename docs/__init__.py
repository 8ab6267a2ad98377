"""The site of kseg: its pages, the scripts that draw its pictures, and its notebooks."""
