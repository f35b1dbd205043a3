# gnuplot plot.gp, in this folder, draws the pictures from plot.dat.
set encoding utf8
do for [kind in 'svg png'] {
if (kind eq 'svg') { set terminal svg size 1000,560 font 'sans-serif,15' background 'white' }
if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) { set terminal pngcairo size 1000,560 font 'sans,11' background 'white' }
if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') == 0) { set terminal png size 1000,560 }
set output 'front.'.kind
set title 'Trade-off (filled: on the Pareto front)'
set xlabel 'held-out loss'
set ylabel 'step, ms'
set logscale y
set yrange [3.21:13]
set ytics (4, 5, 6, 7, 8, 9, 10)
set offsets graph 0.05, graph 0.05, 0, 0
set grid back lt 1 lw 1 lc rgb '#d8d8d8'
set key outside right noenhanced samplen 2
plot NaN notitle, \
  'plot.dat' index 'front' every ::0::0 using 1:4:2:3:5:6 with xyerrorbars pt 7 ps 1.5 lc rgb '#000000' title 'lstm', \
  'plot.dat' index 'front' every ::1::1 using 1:4:2:3:5:6 with xyerrorbars pt 7 ps 1.5 lc rgb '#0072B2' title 'gpt heads=4', \
  'plot.dat' index 'front' every ::2::2 using 1:4:2:3:5:6 with xyerrorbars pt 6 ps 1.5 lc rgb '#D55E00' title 'mmrec'
reset
if (kind eq 'svg') { set terminal svg size 1200,560 font 'sans-serif,15' background 'white' }
if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) { set terminal pngcairo size 1200,560 font 'sans,11' background 'white' }
if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') == 0) { set terminal png size 1200,560 }
set output 'scaling.'.kind
set multiplot layout 1,2
set logscale xy
set grid back lt 1 lw 1 lc rgb '#d8d8d8'
set key left top noenhanced samplen 2
set xlabel 'time'
set xrange [13.6:151.04]
set xtics (16, 32, 64, 128)
set title 'Time of a step'
set ylabel 'ms'
plot NaN notitle, \
  'plot.dat' index 'time 01' with yerrorbars pt 4 lc rgb '#000000' title 'lstm: 0.99', \
  0.104171208 * x ** 0.989209182 with lines lc rgb '#000000' dt 1 notitle, \
  'plot.dat' index 'time 02' with yerrorbars pt 5 lc rgb '#0072B2' title 'gpt heads=4: 1.99', \
  0.105174171 * x ** 1.98700214 with lines lc rgb '#0072B2' dt 1 notitle, \
  'plot.dat' index 'time 03' with yerrorbars pt 4 lc rgb '#D55E00' title 'mmrec: 0.99', \
  0.103453014 * x ** 0.991603845 with lines lc rgb '#D55E00' dt 1 notitle
set title 'Planned memory'
set ylabel 'MB'
plot NaN notitle, \
  'plot.dat' index 'memory 01' with yerrorbars pt 4 lc rgb '#000000' title 'lstm: 1.00', \
  0.004096 * x ** 1 with lines lc rgb '#000000' dt 1 notitle, \
  'plot.dat' index 'memory 02' with yerrorbars pt 5 lc rgb '#0072B2' title 'gpt heads=4: 1.00', \
  0.004096 * x ** 1 with lines lc rgb '#0072B2' dt 1 notitle, \
  'plot.dat' index 'memory 03' with yerrorbars pt 4 lc rgb '#D55E00' title 'mmrec: 1.00', \
  0.004096 * x ** 1 with lines lc rgb '#D55E00' dt 1 notitle
unset multiplot
reset
unset output
}
