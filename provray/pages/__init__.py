"""What provray's HTML pages share: one look, one way to escape, and the charts that more than one page draws.

A page is one file that needs nothing else: no font, script or picture is loaded from anywhere.
"""
