"""The pages: one blueprint a page of the navigation."""
