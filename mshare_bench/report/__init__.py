"""What people look at: terminal tables, figures and the HTML report; all of it reads the tables of a store only."""
